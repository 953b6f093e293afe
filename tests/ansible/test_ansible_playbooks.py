"""Real ansible-core runs playbooks on real agents that only the broker reaches."""

import os
import threading
import time
from typing import Any

import pytest
from ports import free_port

pytestmark = pytest.mark.processes

Stage = Any  # the fixture's class, see conftest.py


def test_a_playbook_runs_on_every_node_of_a_group(stage: Stage) -> None:
    """command, copy, template and setup; a second run changes nothing."""
    (stage.folder / "motd.j2").write_text("{{ farshore_group }} {{ ansible_facts.system }}\n")
    tasks = f"""
- setup: {{gather_subset: min}}
- command: echo {{{{ inventory_hostname }}}}
  register: said
  changed_when: false
- assert: {{that: said.stdout == inventory_hostname}}
- copy: {{content: "text\\n", dest: "{stage.folder}/copied-{{{{ inventory_hostname }}}}", mode: "0640"}}
- template: {{src: motd.j2, dest: "{stage.folder}/motd-{{{{ inventory_hostname }}}}"}}
"""
    first = stage.play(tasks, hosts="eu_hamburg")
    assert first.code == 0, first.text
    for name in ("pi-1", "pi-2"):
        assert (stage.folder / f"copied-{name}").read_text() == "text\n"
        assert (stage.folder / f"copied-{name}").stat().st_mode & 0o777 == 0o640
        assert (stage.folder / f"motd-{name}").read_text() == "eu/hamburg Linux\n"
    second = stage.play(tasks, hosts="eu_hamburg")
    assert second.code == 0, second.text
    assert second.text.count("changed=0") == 2


def test_check_mode_changes_nothing(stage: Stage) -> None:
    out = stage.folder / "unwritten"
    run = stage.play(f'- copy: {{content: "x", dest: "{out}"}}', "--check", "--diff")
    assert run.code == 0, run.text
    assert "changed=1" in run.text
    assert not out.exists()


def test_a_failing_task_gives_its_exit_code_and_ends_the_play(stage: Stage) -> None:
    run = stage.play("- command: sh -c 'echo out; echo err >&2; exit 3'\n- command: echo never")
    assert run.code == 2
    result = run.result("pi-1")
    assert (result["rc"], result["stdout"], result["stderr"]) == (3, "out", "err")
    assert "failed=1" in run.text
    assert "unreachable=0" in run.text


def test_raw_needs_no_python(stage: Stage) -> None:
    run = stage.play(
        "- raw: echo out; echo err >&2; exit 7\n  register: said\n  failed_when: false\n"
        "- assert: {that: \"said.rc == 7 and said.stdout == 'out\\n' and said.stderr == 'err\\n'\"}",
        ANSIBLE_PYTHON_INTERPRETER="/nowhere/python",
    )
    assert run.code == 0, run.text


def test_a_large_binary_file_goes_there_and_back(stage: Stage) -> None:
    data = os.urandom(1_500_000) + b"\0" * 500_000
    (stage.folder / "image").write_bytes(data)
    run = stage.play(
        f"""
- copy: {{src: image, dest: "{stage.folder}/image-there"}}
- fetch: {{src: "{stage.folder}/image-there", dest: "{stage.folder}/image-back", flat: true}}
""",
        FARSHORE_KEEP="1",
    )
    assert run.code == 0, run.text
    assert (stage.folder / "image-there").read_bytes() == data
    assert (stage.folder / "image-back").read_bytes() == data
    kept = stage.home("pi-1") / ".ansible" / "farshore"
    assert kept.is_dir()
    assert not list(kept.glob("*.part")), "pieces are gone when the file is there"
    largest = max(len(str(command["args"])) for command in stage.commands())
    assert largest < 100 * 1024


def test_the_same_file_to_two_nodes_at_once_that_share_a_disk(stage: Stage) -> None:
    """Both keep their pieces in the same place; neither takes the other's away for good."""
    data = os.urandom(700_000)
    (stage.folder / "shared").write_bytes(data)
    dest = f"{stage.folder}/shared-{{{{ inventory_hostname }}}}"
    run = stage.play(f'- copy: {{src: shared, dest: "{dest}"}}', hosts="all")
    assert run.code == 0, run.text
    for name in ("pi-1", "pi-2"):
        assert (stage.folder / f"shared-{name}").read_bytes() == data


def test_a_module_is_sent_to_a_node_once_in_a_run(stage: Stage) -> None:
    before = len(stage.commands())
    run = stage.play("- command: echo 1\n- command: echo 2\n- command: echo 3", FARSHORE_KEEP="1")
    assert run.code == 0, run.text
    sizes = [len(str(command["args"])) for command in stage.commands()[before:]]
    assert sum(size > 50_000 for size in sizes) <= 2, "the module's pieces, once"
    assert sum(sizes) > 50_000, "it was kept, and so it could be measured"
    assert sum(sizes) < 400_000


def test_arguments_of_a_module_are_on_no_command_line(stage: Stage) -> None:
    """Another user of the node sees command lines; input and environment they do not."""
    before = len(stage.commands())
    for task in (
        f'- copy: {{content: "hush-hush", dest: "{stage.folder}/s"}}\n  no_log: true',
        "- debug: {msg: x}\n- command: {argv: [test, hush-hush, '=', hush-hush]}",
    ):
        run = stage.play(task, FARSHORE_KEEP="1")
        assert run.code == 0, run.text
    made = stage.commands()[before:]
    assert not any("hush-hush" in str(command["args"]["argv"]) for command in made)
    assert any("hush-hush" in str(command["args"].get("env")) for command in made)


def test_what_a_task_sends_stands_in_no_history(stage: Stage) -> None:
    """Neither in the commands nor in the events, which are kept; the task has its answer all the same."""
    before = len(stage.commands())
    run = stage.play(
        f'- copy: {{content: "hush-hush", dest: "{stage.folder}/hushed"}}\n'
        f"- command: cat {stage.folder}/hushed\n  register: said\n"
        "- assert: {that: said.stdout == 'hush-hush'}"
    )
    assert run.code == 0, run.text
    made = stage.commands()[before:]
    assert made
    assert all(command["secret"] and command["args"] == {} for command in made)
    told = stage.http.get("/api/v1/events", params={"limit": 1000}).text
    assert made[-1]["id"] in told
    assert not any(chunk["text"] in told for c in made for chunk in c["targets"][0]["output"])


def test_delegation_goes_to_the_other_node(stage: Stage) -> None:
    before = len(stage.commands())
    run = stage.play("- command: echo there\n  delegate_to: pi-2")
    assert run.code == 0, run.text
    nodes = {command["targets"][0]["node"] for command in stage.commands()[before:]}
    assert nodes == {"pi-2"}


def test_an_offline_node_is_unreachable_after_its_ttl_and_runs_nothing_later(stage: Stage) -> None:
    agent = stage.add("pi-off")
    assert agent.end() == 0
    stage.wait(lambda: stage.state("pi-off") == "offline", "pi-off offline")
    witness = stage.folder / "witness"
    started = time.monotonic()
    run = stage.play(f"- raw: touch {witness}", hosts="pi-off", FARSHORE_TTL_S="1.5")
    assert time.monotonic() - started < 100, "the ttl counts, not the hour that a module may take"
    assert run.code == 4, run.text
    assert "UNREACHABLE" in run.text
    assert "pi-off did not come online in time; nothing was run" in run.text
    assert "it is offline, last seen" in run.text
    before = len(stage.commands())
    stage.add("pi-off")
    again = stage.play("- raw: echo here", hosts="pi-off")
    assert again.code == 0, again.text
    assert not witness.exists()
    assert len(stage.commands()) == before + 1
    stage.agents["pi-off"].end()


def test_a_node_that_comes_within_its_ttl_is_waited_for(stage: Stage) -> None:
    agent = stage.add("pi-late")
    agent.end()
    stage.wait(lambda: stage.state("pi-late") == "offline", "pi-late offline")
    timer = threading.Timer(2.0, agent.start)
    timer.start()
    run = stage.play("- raw: echo here", hosts="pi-late", FARSHORE_TTL_S="60")
    timer.join()
    assert run.code == 0, run.text
    agent.end()


def test_an_unknown_node_and_an_absent_center_are_unreachable_with_the_reason(stage: Stage) -> None:
    inventory = stage.folder / "hosts.ini"
    inventory.write_text("nobody ansible_connection=farshore\n")
    words = ("-i", str(inventory), "all", "-m", "raw", "-a", "true")
    run = stage.ansible("ansible", *words)
    assert "UNREACHABLE" in run.text
    assert "'nobody'" in run.text
    closed = f"http://127.0.0.1:{free_port()}"
    run = stage.ansible("ansible", *words, FARSHORE_URL=closed, FARSHORE_TTL_S="1")
    assert "UNREACHABLE" in run.text
    assert f"the center at {closed} can't be reached" in run.text


def test_output_beyond_what_a_node_keeps_is_an_error_and_not_cut_silently(stage: Stage) -> None:
    run = stage.play("- raw: head -c 2000000 /dev/urandom")
    assert run.code == 2
    assert "kept only the beginning of its output" in run.text
    assert "output_max_bytes" in run.text
    run = stage.play(
        "- raw: yes a long line of text | head -c 3000000\n  register: said\n"
        "- debug: {msg: 'length {{ said.stdout | length }}'}"
    )
    assert run.code == 0, run.text
    assert "length 3000000" in run.text, "compressed, this is no trouble"


def test_a_program_that_runs_too_long_is_ended_at_the_node(stage: Stage) -> None:
    run = stage.play("- raw: sleep 600", FARSHORE_TIMEOUT_S="1")
    assert run.code == 2
    assert "still running after 1 s; its process group was ended" in run.text
    assert "farshore_timeout_s" in run.text


def test_no_command_is_executed_twice_while_the_center_is_killed(stage: Stage) -> None:
    """Requests that lost their answer are sent again with their key; the id stays one."""
    journal = stage.folder / "journal"
    tasks = "".join(f"- raw: echo {n} >> {journal}; sleep 0.3\n" for n in range(8))

    def kill_and_start() -> None:
        stage.wait(journal.exists, "the first line")
        stage.center.kill()
        stage.center.start()

    killer = threading.Thread(target=kill_and_start)
    killer.start()
    run = stage.play(tasks)
    killer.join()
    lines = journal.read_text().split()
    assert len(lines) == len(set(lines)), "no command was executed twice"
    assert run.code == 0, run.text
    assert lines == [str(n) for n in range(8)]


def test_become_asks_for_no_password_and_a_given_one_is_refused(stage: Stage) -> None:
    """A stand-in for sudo: what counts is that its line is run, and that no password travels."""
    sudo = stage.folder / "sudo-stand-in"
    sudo.write_text('#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\nBECAME=yes exec "$@"\n')
    sudo.chmod(0o755)
    words = ("--become", "-e", f"ansible_become_exe={sudo}")
    run = stage.play(
        "- command: printenv BECAME\n  register: said\n- assert: {that: said.stdout == 'yes'}",
        *words,
    )
    assert run.code == 0, run.text
    before = len(stage.commands())
    refused = stage.play("- command: id", *words, "-e", "ansible_become_password=secret-word")
    assert refused.code == 2
    assert "a password for become can't be given" in refused.text
    assert not any("secret-word" in str(c) for c in stage.commands()[before:])


def test_what_a_node_says_of_itself_is_never_run_as_a_template(stage: Stage) -> None:
    trap = stage.folder / "trap"
    label = "{{ lookup('pipe', 'touch " + str(trap) + "') }}"
    stage.http.patch("/api/v1/nodes/pi-2", json={"labels": {"env": label}}).raise_for_status()
    config = stage.folder / "x.farshore.yml"
    config.write_text("plugin: farshore\n")
    for inventory in (stage.script(), str(config)):
        run = stage.ansible(
            "ansible", "-i", inventory, "pi-2", "-m", "debug", "-a", "var=farshore_labels.env"
        )
        assert "lookup" in run.text, run.text
        assert not trap.exists()
    stage.http.patch("/api/v1/nodes/pi-2", json={"labels": {"env": "test"}}).raise_for_status()


def test_the_inventory_plugin_gives_what_the_script_gives(stage: Stage) -> None:
    config = stage.folder / "fleet.farshore.yml"
    config.write_text(
        "plugin: farshore\nkeyed_groups: [{key: farshore_facts.arch, prefix: arch}]\n"
    )
    plugin = stage.ansible("ansible-inventory", "-i", str(config), "--graph")
    script = stage.ansible("ansible-inventory", "-i", stage.script(), "--graph")
    for name in ("eu_hamburg", "label_env_prod", "online", "offline"):
        assert f"@{name}:" in plugin.text
        assert f"@{name}:" in script.text
    assert "@arch_" in plugin.text
    ping = stage.ansible("ansible", "-i", str(config), "label_env_prod", "-m", "ping")
    assert ping.code == 0, ping.text
    assert "pong" in ping.text


def test_the_plugins_are_documented_for_ansible(stage: Stage) -> None:
    for kind in ("connection", "inventory"):
        said = stage.ansible("ansible-doc", "-t", kind, "farshore")
        assert said.code == 0, said.text
        assert "farshore" in said.text


def test_folders_at_the_node_are_private(stage: Stage) -> None:
    assert stage.play("- command: 'true'").code == 0
    kept = stage.home("pi-1") / ".ansible" / "farshore"
    assert list(kept.iterdir())
    assert kept.stat().st_mode & 0o077 == 0


def test_asynchronous_tasks_scripts_and_slurp(stage: Stage) -> None:
    (stage.folder / "words.sh").write_text("#!/bin/sh\necho words $*\n")
    run = stage.play(
        f"""
- command: sh -c 'sleep 1; echo later'
  async: 20
  poll: 1
  register: later
- script: words.sh a b
  register: words
- slurp: {{src: "{stage.folder}/words.sh"}}
  register: read
- assert:
    that:
      - later.stdout == 'later'
      - "'words a b' in words.stdout"
      - "'echo words' in read.content | b64decode"
- meta: reset_connection
- wait_for_connection: {{timeout: 5}}
"""
    )
    assert run.code == 0, run.text
