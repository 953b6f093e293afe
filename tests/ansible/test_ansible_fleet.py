"""Nodes and their tree as Ansible's groups: valid names, no two alike, no surprise."""

import json
import re
from typing import Any

import pytest
from farshore_center.ansible.fleet import Fleet, Key, guarded, inventory, names
from hypothesis import example, given
from hypothesis import strategies as st

VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

SEGMENT = st.text("ab1_-", min_size=1, max_size=3).filter(lambda s: s[0] not in "_-")
PATH = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)
LABEL = st.tuples(SEGMENT, st.text("ab_=/ ü", max_size=3)).map("=".join)
KEYS = st.sets(
    PATH.map(lambda what: Key(kind="group", what=what))
    | LABEL.map(lambda what: Key(kind="label", what=what))
    | st.sampled_from(["all", "online", "label_a_b", "ungrouped"]).map(
        lambda what: Key(kind="group", what=what)
    ),
    max_size=12,
)


def node(name: str, group: str = "", *, online: bool = True, **labels: str) -> dict[str, Any]:
    state = "online" if online else "offline"
    return {
        "name": name,
        "group": group,
        "labels": labels,
        "facts": {"arch": "arm"},
        "state": state,
    }


def of(*nodes: dict[str, Any], paths: tuple[str, ...] = ()) -> dict[str, Any]:
    return inventory(Fleet(nodes=nodes, everyone=nodes, paths=paths))


@given(KEYS)
@example({Key(kind="group", what="a/b"), Key(kind="group", what="a_b")})
def test_names_are_valid_and_no_two_alike(keys: set[Key]) -> None:
    found = names(keys)
    assert set(found) == keys
    assert len(set(found.values())) == len(keys)
    assert all(VALID.fullmatch(name) for name in found.values())
    assert not {"all", "ungrouped", "online", "offline"} & set(found.values())


@given(KEYS, KEYS)
def test_a_bare_name_never_goes_to_something_else(keys: set[Key], more: set[Key]) -> None:
    """Whatever is made later: who asks for a name gets what it meant, or nothing."""
    before = {name: key for key, name in names(keys).items() if name == key.plain}
    after = {name: key for key, name in names(keys | more).items()}
    assert all(after.get(name, key) == key for name, key in before.items())


def test_the_tree_labels_and_states_are_groups() -> None:
    found = of(node("n1", "eu/hamburg", env="prod"), node("n2", "eu", online=False), node("n3"))
    del found["_meta"]
    assert found == {
        "all": {"children": ["eu", "label_env_prod", "offline", "online", "ungrouped"]},
        "ungrouped": {"hosts": ["n3"]},
        "eu": {"hosts": ["n2"], "children": ["eu_hamburg"]},
        "eu_hamburg": {"hosts": ["n1"]},
        "label_env_prod": {"hosts": ["n1"]},
        "online": {"hosts": ["n1", "n3"]},
        "offline": {"hosts": ["n2"]},
    }


def test_groups_without_a_node_are_there_with_their_parents() -> None:
    found = of(paths=("us/west",))
    assert found["us"] == {"hosts": [], "children": ["us_west"]}


def test_two_that_come_to_one_name_are_both_marked() -> None:
    found = of(node("n1", "eu/hamburg"), node("n2", "eu_hamburg"), node("n3", "online"))
    assert "eu_hamburg" not in found
    marked = {tuple(g["hosts"]) for name, g in found.items() if name.startswith("eu_hamburg_")}
    assert marked == {("n1",), ("n2",)}
    assert found["online"]["hosts"] == ["n1", "n2", "n3"], "the state keeps its name"


def test_clashes_are_told_with_the_names_that_came_of_them() -> None:
    nodes = (node("n1", "eu/hamburg"), node("n2", "eu-hamburg"))
    (who,) = Fleet(nodes=nodes, everyone=nodes).clashes().values()
    assert [text.split(" is ")[0] for text in who] == ["group eu-hamburg", "group eu/hamburg"]


def test_a_selection_changes_no_names() -> None:
    everyone = (node("n1", "eu/hamburg"), node("n2", "eu_hamburg", env="prod"))
    whole = inventory(Fleet(nodes=everyone, everyone=everyone))
    part = inventory(Fleet(nodes=everyone[:1], everyone=everyone, whole=False))
    (name,) = [n for n, g in part.items() if n.startswith("eu_h")]
    assert whole[name] == part[name]
    assert "label_env_prod" not in part


@pytest.mark.parametrize("text", ["{{ x }}", "a {% if %}", "{#"])
def test_text_that_could_be_a_template_is_marked(text: str) -> None:
    assert guarded({"a": [text, "plain", 1, None]}) == {
        "a": [{"__ansible_unsafe": text}, "plain", 1, None]
    }


def test_variables_of_a_host() -> None:
    found = of(node("n1", "eu", env="{{ 1 }}"))["_meta"]["hostvars"]["n1"]
    assert found == {
        "ansible_connection": "farshore",
        "farshore_facts": {"arch": "arm"},
        "farshore_group": "eu",
        "farshore_labels": {"env": {"__ansible_unsafe": "{{ 1 }}"}},
        "farshore_state": "online",
    }
    json.dumps(found)


def test_an_address_with_a_password_stays_out_of_the_inventory() -> None:
    plain = inventory(Fleet(nodes=(), everyone=()), "http://center:8080")
    assert plain["all"]["vars"] == {"farshore_url": "http://center:8080"}
    assert "vars" not in inventory(Fleet(nodes=(), everyone=()), "https://me:secret@center")["all"]
