"""Writes ``docs/verbs.md`` from the catalogue of verbs.

After a change of the catalogue: ``.venv/bin/python tests/protocol/verb_docs.py``.
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
from farshore_protocol.commands import VERBS, Verb
from farshore_protocol.commands.schema import type_text

PAGE = Path(__file__).parents[2] / "docs" / "verbs.md"

HEAD = """# Verbs

What a node can be asked to do, generated from the catalogue in the code. Over MQTT: `cmd/<verb>` with
`{"id","args"}`, the answers on `res/<id>` ([protocol](protocol.md)). By the center:
`farshore run NODES VERB --arg K=V` ([command line](cli.md#farshore-run)), `POST /api/v1/commands`
([API](api.md)). A node says by `verbs` which it has. A new one: [checklist](checklists/new-verb.md).

- **Risk**: `read` changes nothing and is taken unsigned by every node; `change` and `danger` only by an
  agent with `--dev`, or by a rule of [the node's policy](settings.md#the-nodes-policy), until commands can be
  signed. The policy may also refuse any of them (`policy`).
- **Again after a crash**: whether the agent runs it again when it died in the middle; any other is
  reported as `interrupted`.
- A node may have further verbs, from other distributions:
  [checklist](checklists/new-verb.md#a-verb-in-a-distribution-of-its-own).
- Files and logs are read and written only below the folders of the agent's settings `read_roots` and
  `write_roots` ([settings](settings.md)); with `--dev` also below `files` in its data folder. Links are
  not followed, and the agent's own folder is closed. The journal is read where `/var/log` is allowed.
- `net-probe` looks only where the agent's setting `probe_targets` allows, without it at its center alone;
  with `--dev` everywhere. ICMP needs the kernel's leave or CAP_NET_RAW and says so; path MTU goes on by
  UDP without it.
- `restart-agent` and `reboot` have succeeded when the next start of the agent, or the next boot, says so.
  They are done once at most, can't be cancelled, and fail with `late` or `not_rebooted` where their
  timeout is over ([decision 14](decisions/0014-what-ends-with-the-next-start.md)).
"""


def page() -> str:
    return "\n".join([HEAD, _overview(), *(_section(VERBS[name]) for name in sorted(VERBS))])


def _overview() -> str:
    lines = ["| verb | risk | what it does |", "| --- | --- | --- |"]
    lines += [
        f"| [`{name}`](#{name}) | {VERBS[name].risk} | {VERBS[name].summary} |"
        for name in sorted(VERBS)
    ]
    return "\n".join(lines) + "\n"


def _section(verb: Verb) -> str:
    risk: str = verb.risk
    if hasattr(verb.args, "only_asks"):
        risk += " (`read` where it only asks)"
    facts = [f"Risk: {risk}", f"again after a crash: {'yes' if verb.idempotent else 'no'}"]
    facts.append(f"timeout: {verb.timeout_s:g} s")
    facts += [f"needs {need}" for need in sorted(verb.needs)]
    if not verb.queued:
        facts.append("never waits for its turn")
    text = f"## {verb.name}\n\n{verb.summary}\n\n{'; '.join(facts)}.\n"
    text += _fields("argument", verb.args)
    if verb.result is not None:
        text += _fields("result", verb.result)
    return text


def _fields(what: str, kind: type[Any]) -> str:
    schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    if not schema["properties"]:
        return "\nNo arguments.\n" if what == "argument" else ""
    with_default = what == "argument"
    lines = [f"| {what} | type |" + (" default |" if with_default else "")]
    lines.append("| --- | --- |" + (" --- |" if with_default else ""))
    for name, of in schema["properties"].items():
        line = f"| `{name}` | {type_text(of, '`')} |"
        if with_default:
            given = "required" if name in schema["required"] else _json(of.get("default"))
            line += f" {given} |"
        lines.append(line)
    about = re.sub(r"\s+", " ", schema.get("description", "")).replace("``", "`")
    return "\n" + (f"{about}\n\n" if about else "") + "\n".join(lines) + "\n"


def _json(value: Any) -> str:
    return "–" if value is None else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
