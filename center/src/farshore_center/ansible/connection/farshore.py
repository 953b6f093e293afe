"""Ansible's connection plugin ``farshore``: only what Ansible wants to see; ``remote`` does the work.

Found by ``ANSIBLE_CONNECTION_PLUGINS``, in whatever Python runs Ansible.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.constants import DEFAULT_LOCAL_TMP
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

_ROOT = str(Path(__file__).parents[3])
try:
    import farshore_center.ansible.errors as bridge
except ImportError:  # another Python than the center's: our sources, behind everything of its own
    sys.path.append(_ROOT)
    import farshore_center.ansible.errors as bridge
    from farshore_center.ansible.calls import Commands, Ended
    from farshore_center.ansible.remote import Node
    from farshore_center.ansible.rest import Center

    sys.path.remove(_ROOT)
else:
    from farshore_center.ansible.calls import Commands, Ended
    from farshore_center.ansible.remote import Node
    from farshore_center.ansible.rest import Center

display = Display()

DOCUMENTATION = """
    name: farshore
    author: Farshore
    short_description: runs tasks on Farshore nodes, over the center's commands
    description:
        - Runs tasks on nodes that no SSH reaches. A node needs its agent, a POSIX shell, gzip, base64
          and sha256sum; most modules need Python there as always.
        - What is sent and answered is erased from the center's history of commands ten minutes after
          its end, and shown to nobody in it; see the option keep.
    options:
        node:
            description: The node's name.
            default: inventory_hostname
            vars:
                - name: inventory_hostname
                - name: ansible_host
                - name: farshore_node
        url:
            description: The center's address.
            default: http://127.0.0.1:8080
            env:
                - name: FARSHORE_URL
            ini:
                - section: farshore
                  key: url
            vars:
                - name: farshore_url
        ttl_s:
            description: How many seconds an absent node, or an absent center, is waited for.
            type: float
            default: 10
            env:
                - name: FARSHORE_TTL_S
            ini:
                - section: farshore
                  key: ttl_s
            vars:
                - name: farshore_ttl_s
        timeout_s:
            description: How many seconds a task's program may run before the node ends it.
            type: float
            default: 3600
            env:
                - name: FARSHORE_TIMEOUT_S
            ini:
                - section: farshore
                  key: timeout_s
            vars:
                - name: farshore_timeout_s
        keep:
            description:
                - Whether the center's history of commands keeps what is sent and answered, secrets
                  included, to find out what went wrong.
            type: boolean
            default: false
            env:
                - name: FARSHORE_KEEP
            ini:
                - section: farshore
                  key: keep
            vars:
                - name: farshore_keep
        remote_folder:
            description: Where a node keeps modules and pieces of files, at most for about a day.
            default: ~/.ansible/farshore
            vars:
                - name: farshore_remote_folder
        pipelining:
            description: Modules on standard input, not as files. Far fewer commands for a task.
            type: boolean
            default: true
            env:
                - name: ANSIBLE_PIPELINING
            ini:
                - section: defaults
                  key: pipelining
                - section: connection
                  key: pipelining
            vars:
                - name: ansible_pipelining
"""


class Connection(ConnectionBase):  # type: ignore[misc] # Ansible has no types
    transport = "farshore"
    has_pipelining = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._node: Node | None = None
        self._name = ""

    def _connect(self) -> Connection:
        self._at_node()
        return self

    def _new_node(self) -> Node:
        ttl_s = float(self.get_option("ttl_s"))
        center = Center(str(self.get_option("url")), patience_s=ttl_s)
        timeout_s = float(self.get_option("timeout_s"))
        secret = not self.get_option("keep")
        return Node(
            Commands(center, self._name, ttl_s=ttl_s, timeout_s=timeout_s, secret=secret),
            folder=str(self.get_option("remote_folder")),
            known=Path(DEFAULT_LOCAL_TMP),
        )

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        if sudoable and self.become is not None and self.become.expect_prompt():
            raise AnsibleError(
                "a password for become can't be given at a Farshore node: a command has no terminal "
                "in which somebody could answer. Let the agent's user become without one "
                "(NOPASSWD), or run the agent as the user that tasks need"
            )
        node = self._at_node()
        display.vvv(f"EXEC {cmd}", host=self._name)
        ended: Ended = self._translated(lambda: node.run(cmd, in_data))
        return ended.code, ended.stdout, ended.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        node = self._at_node()
        display.vvv(f"PUT {in_path} TO {out_path}", host=self._name)
        source = Path(in_path)
        if not source.exists():
            raise AnsibleFileNotFound(f"there is no file {in_path}")
        self._translated(lambda: node.put(source, out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        node = self._at_node()
        display.vvv(f"FETCH {in_path} TO {out_path}", host=self._name)
        self._translated(lambda: node.fetch(in_path, Path(out_path)))

    def reset(self) -> None:
        self.close()

    def close(self) -> None:
        node, self._node = self._node, None
        self._connected = False
        if node is not None:
            node.close()

    def _at_node(self) -> Node:
        if self._node is None:
            self._name = str(self.get_option("node"))
            self._node = self._translated(self._new_node)
            self._connected = True
        return self._node

    def _translated(self, work: Any) -> Any:
        """A node that was not reached is unreachable; whatever else went wrong failed the task."""
        try:
            return work()
        except (bridge.AwayError, bridge.NotReachedError) as exc:
            raise AnsibleConnectionFailure(str(exc)) from exc
        except (bridge.AnsibleBridgeError, OSError) as exc:
            raise AnsibleError(str(exc)) from exc
