"""The catalogue of verbs: what each needs, gives and risks. Checklist: docs/checklists/new-verb.md."""

from collections.abc import Mapping

from farshore_protocol.commands.catalogue.config import CONFIG, ConfigOverrideArgs
from farshore_protocol.commands.catalogue.files import (
    FILES,
    FileReadArgs,
    FileWriteArgs,
    LogsArgs,
)
from farshore_protocol.commands.catalogue.inquiry import INQUIRY, VerbsArgs
from farshore_protocol.commands.catalogue.model import NoArgs, Risk, Verb, risk_of
from farshore_protocol.commands.catalogue.network import (
    NETWORK,
    LinkTestArgs,
    NetProbeArgs,
)
from farshore_protocol.commands.catalogue.programs import (
    PROGRAMS,
    CancelArgs,
    ExecArgs,
    ProcessesArgs,
    ServicesArgs,
)
from farshore_protocol.commands.catalogue.upkeep import (
    UPKEEP,
    DiagnoseArgs,
    RebootArgs,
    RestartAgentArgs,
)

VERBS: Mapping[str, Verb] = {
    verb.name: verb for verb in (*INQUIRY, *PROGRAMS, *FILES, *NETWORK, *CONFIG, *UPKEEP)
}

__all__ = [
    "VERBS",
    "CancelArgs",
    "ConfigOverrideArgs",
    "DiagnoseArgs",
    "ExecArgs",
    "FileReadArgs",
    "FileWriteArgs",
    "LinkTestArgs",
    "LogsArgs",
    "NetProbeArgs",
    "NoArgs",
    "ProcessesArgs",
    "RebootArgs",
    "RestartAgentArgs",
    "Risk",
    "ServicesArgs",
    "Verb",
    "VerbsArgs",
    "risk_of",
]
