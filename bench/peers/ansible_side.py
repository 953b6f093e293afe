"""Ansible's side: ``ansible all -m command`` over local connections, as many forks as hosts.

Ansible is given what makes it quicker: the interpreter is named, so that it is not looked for, and
pipelining is on, so that no file is copied for a module.
"""

from pathlib import Path

from bench.context import Context
from bench.peers.findings import Findings
from bench.peers.install import clean_environment
from bench.peers.shell import call, check_answers
from bench.peers.size import Size

CONFIG = """[defaults]
inventory = hosts
host_key_checking = False
retry_files_enabled = False
[connection]
pipelining = True
"""


def inventory(names: list[str]) -> str:
    settings = "ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'"
    return "".join(f"{name} {settings}\n" for name in names)


async def run(context: Context, size: Size, environment: Path) -> Findings:
    folder = context.folder("ansible")
    (folder / "hosts").write_text(inventory(size.names()))
    (folder / "ansible.cfg").write_text(CONFIG)
    env = clean_environment(folder) | {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "LC_ALL": "C.UTF-8",  # Ansible does not start without UTF-8
    }
    program = str(environment / "bin" / "ansible")
    argv = (program, "all", "-m", "command", "-a", "uptime", "-f", str(size.nodes))
    seconds = []
    for number in range(1 + size.plays):
        called = await call(argv, env)
        check_answers(called.out, size.nodes, "ansible")
        if number:
            seconds.append(called.seconds)
            context.say(f"ansible, {number} of {size.plays}: {called.seconds:.2f} s")
    return Findings(shells_s=tuple(seconds))
