"""The node's own rules: what they allow, why, and that nothing that is wrong in them opens anything."""

from pathlib import Path
from typing import Any

import pytest
from farshore_edge.cli import main
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge
from farshore_edge.commands.policy_file import PolicyError, load_rules, read_rules
from farshore_edge.commands.rules import Rules, argv_fits, glob, rule_on
from farshore_protocol.commands import VERBS, Command
from hypothesis import example, given
from hypothesis import strategies as st

RULES = """
default = "allow"

[[rule]]
name = "uptime"
allow = ["exec"]
argv = ["uptime", "**"]

[[rule]]
name = "restart the shop, unsigned"
allow = ["services"]
args = { "/action" = "restart", "/unit" = "shop*" }
unsigned = true

[[rule]]
name = "logs of the shop"
allow = ["file-read", "logs"]
match = { "/path" = "/var/log/shop/[a-z]+\\\\.log" }
also = ["offset", "length", "lines"]

[[rule]]
name = "nothing else of these"
deny = ["exec", "services", "file-*", "logs"]
"""


def verdict(
    verb: str, args: Any = None, *, rules: str | Rules = RULES, dev: bool = True
) -> Accepted | Refused:
    read = read_rules(rules, "policy.toml") if isinstance(rules, str) else rules
    return judge(
        verb,
        Command(args=args or {}),
        policy=Policy.development(read) if dev else Policy(rules=read),
        known=VERBS,
        center_ms=None,
    )


def refusal(*args: Any, **more: Any) -> str:
    said = verdict(*args, **more)
    assert isinstance(said, Refused), said
    assert (said.state, said.error.code) == ("rejected", "policy")
    return said.error.message


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        pytest.param("exec", {"argv": ["uptime"]}, id="the program without a word"),
        pytest.param("exec", {"argv": ["uptime", "-p"]}, id="with any words"),
        pytest.param("exec", {"argv": ["uptime"], "env": None}, id="an argument at its default"),
        pytest.param("services", {"action": "restart", "unit": "shop-1"}, id="by two arguments"),
        pytest.param("logs", {"path": "/var/log/shop/a.log", "lines": 5}, id="by an expression"),
        pytest.param("ping", {}, id="what no rule is about, where that is allowed"),
    ],
)
def test_what_a_rule_allows_is_taken(verb: str, args: Any) -> None:
    assert isinstance(verdict(verb, args), Accepted)


@pytest.mark.parametrize(
    ("verb", "args", "words"),
    [
        pytest.param("exec", {"argv": ["ls"]}, ["'nothing else", "exec ls"], id="another program"),
        pytest.param(
            "exec",
            {"argv": ["uptime"], "env": {"LD_PRELOAD": "/opt/x.so"}},
            ["rule 'uptime' (argv uptime **) would, without env"],
            id="an allowed program with another environment",
        ),
        pytest.param("exec", {"argv": ["uptime"], "stdin": "x"}, ["without stdin"], id="input"),
        pytest.param("exec", {"argv": ["/opt/uptime"]}, ["exec /opt/uptime"], id="a like name"),
        pytest.param("services", {"action": "stop", "unit": "shop"}, ["'restart"], id="an action"),
        pytest.param("logs", {"path": "/var/log/shop/a.log.1"}, ["[a-z]+"], id="not the whole"),
        pytest.param("logs", {"unit": "shop"}, ["'logs of the shop'"], id="no such argument"),
        pytest.param("file-write", {"path": "/a", "data": ""}, ["nothing"], id="nothing of it"),
    ],
)
def test_what_is_refused_names_the_rule_and_what_is_allowed(
    verb: str, args: Any, words: list[str]
) -> None:
    said = refusal(verb, args)
    for word in ["policy.toml", f"of {verb} is allowed:", *words]:
        assert word in said


def test_what_no_rule_fits_is_refused_unless_told_otherwise() -> None:
    said = refusal("ping", rules='[[rule]]\nallow = ["verbs"]')
    assert "no rule of policy.toml allows ping" in said
    assert isinstance(verdict("verbs", rules='[[rule]]\nallow = ["v*"]'), Accepted)


def test_the_first_rule_that_fits_decides() -> None:
    deny, allow = '[[rule]]\ndeny = ["ping"]\n', '[[rule]]\nallow = ["ping"]\n'
    assert isinstance(verdict("ping", rules=allow + deny), Accepted)
    assert "rule 'rule 1'" in refusal("ping", rules=deny + allow)


def test_a_denial_holds_whatever_else_is_given() -> None:
    rules = 'default = "allow"\n[[rule]]\ndeny = ["exec"]\nargv = ["reboot", "**"]'
    refusal("exec", {"argv": ["reboot", "-f"], "cwd": "/"}, rules=rules)
    assert isinstance(verdict("exec", {"argv": ["ls"]}, rules=rules), Accepted)


def test_without_dev_a_rule_opens_nothing_unless_it_says_unsigned() -> None:
    said = verdict("exec", {"argv": ["uptime"]}, dev=False)
    assert isinstance(said, Refused)
    assert said.error.code == "unsigned"
    taken = verdict("services", {"action": "restart", "unit": "shop"}, dev=False)
    assert isinstance(taken, Accepted)
    assert isinstance(verdict("ping", dev=False), Accepted)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default = 1", "default = 1: expected 'allow' or 'deny'"),
        ("defualt = 'deny'", "defualt: no such key; known: default, rule"),
        ("rule = 5", "expected [[rule]] tables"),
        ("[[rule]]", "rule 1: expected exactly one of allow and deny"),
        ('[[rule]]\nname="n"\nallow=["a"]\ndeny=["b"]', "rule 1 ('n'): expected exactly one"),
        ("[[rule]]\nallow = 'exec'", "rule 1: allow = 'exec': expected a list of texts"),
        ("[[rule]]\nallow = []", "expected a list of texts"),
        ('[[rule]]\nallow=["a"]\nargvs=["b"]', "rule 1: argvs: no such key"),
        ('[[rule]]\nallow=["a"]\nargv=["**","b"]', "stands only at the end"),
        ('[[rule]]\nallow=["a"]\nargs={path="x"}', "args.path: expected a JSON pointer"),
        ('[[rule]]\nallow=["a"]\nargs={"/path"=1}', "args./path = 1: expected a text"),
        ('[[rule]]\nallow=["a"]\nmatch={"/path"="["}', "match./path = '[': unterminated"),
        ('[[rule]]\nallow=["a"]\nunsigned="yes"', "unsigned = 'yes': expected true or false"),
        ('[[rule]]\ndeny=["a"]\nunsigned=true', "belong to allow"),
        ("[[rule", "not TOML"),
    ],
)
def test_what_is_wrong_is_named_and_opens_nothing(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        read_rules(text, "policy.toml")
    assert words in str(caught.value)
    file = tmp_path / "policy.toml"
    file.write_text(text)
    rules = load_rules(str(file))
    assert rules is not None
    for name in ("ping", "status", "verbs"):
        assert isinstance(verdict(name, rules=rules), Accepted)
    for name in sorted(set(VERBS) - {"ping", "status", "verbs"}):
        assert not rule_on(rules, name, VERBS["ping"].args()).allowed
    assert str(file) in refusal("facts", rules=rules)


@pytest.mark.parametrize("make", ["missing", "folder", "binary", "huge"])
def test_a_file_that_cant_be_read_opens_nothing(make: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    if make == "folder":
        file.mkdir()
    elif make == "binary":
        file.write_bytes(b"\xff\xfe")
    elif make == "huge":
        file.write_text("#" * 300_000)
    rules = load_rules(str(file))
    assert rules is not None
    assert rules.fault
    refusal("facts", rules=rules)


def test_a_file_that_commands_may_write_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    file = tmp_path / "root" / "policy.toml"
    file.write_text(RULES)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    for path in (file, link):
        rules = load_rules(str(path), [str(tmp_path / "root")])
        assert rules is not None
        assert "where commands may write it" in str(rules.fault)
    beside = load_rules(str(file), [str(tmp_path / "roo"), str(tmp_path / "other")])
    assert beside is not None
    assert beside.fault is None


def test_without_a_file_there_are_no_rules() -> None:
    assert load_rules("") is None


def test_the_command_line_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(RULES)
    flags = ["policy", "--node", "n", "--dev", "--policy", str(file)]
    assert main([*flags]) == 0
    assert f"{file}: 4 rules; what none fits: allow" in capsys.readouterr().out
    assert main([*flags, "exec", '{"argv": ["uptime"]}']) == 0
    assert "taken: rule 'uptime'" in capsys.readouterr().out
    assert main([*flags, "exec", '{"argv": ["ls"]}']) == 1
    assert "rejected (policy)" in capsys.readouterr().out
    assert main([*flags, "exec", "{"]) == 2
    file.write_text("default = 1")
    assert main(flags) == 2
    assert "default = 1" in capsys.readouterr().err


WORDS = st.text(alphabet="ab/*?.\n", max_size=8)


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=3))
@example(["a"], [])
def test_a_vector_without_wildcards_fits_itself_and_only_with_rest_more(
    argv: list[str], more: list[str]
) -> None:
    plain = [word.replace("*", "x").replace("?", "x") for word in argv]
    assert argv_fits(plain, plain)
    assert argv_fits([*plain, "**"], plain + more)
    assert argv_fits(plain, plain + more) == (not more)


@given(WORDS, WORDS)
def test_a_star_never_crosses_a_folder_and_two_do(left: str, right: str) -> None:
    text = f"/var/{left}/{right}"
    assert glob("/var/**").fullmatch(text)
    assert bool(glob("/var/*").fullmatch(text)) == ("/" not in f"{left}/{right}")
