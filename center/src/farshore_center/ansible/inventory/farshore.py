"""Ansible's inventory plugin ``farshore``: the fleet of a center, from a file ``*.farshore.yml``.

Found by ``ANSIBLE_INVENTORY_PLUGINS``. It gives what ``farshore inventory --list`` prints, and what
Ansible's own ``groups``, ``keyed_groups`` and ``compose`` make of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.utils.unsafe_proxy import wrap_var

_ROOT = str(Path(__file__).parents[3])
try:
    from farshore_center.ansible import fleet
except ImportError:  # another Python than the center's: our sources, behind everything of its own
    sys.path.append(_ROOT)
    from farshore_center.ansible import fleet
    from farshore_center.ansible.errors import AnsibleBridgeError
    from farshore_center.ansible.rest import Center

    sys.path.remove(_ROOT)
else:
    from farshore_center.ansible.errors import AnsibleBridgeError
    from farshore_center.ansible.rest import Center


DOCUMENTATION = """
    name: farshore
    author: Farshore
    short_description: the nodes of a Farshore center
    description:
        - Groups from the tree, from labels and from presence; labels and facts as variables.
    extends_documentation_fragment:
        - constructed
    options:
        plugin:
            description: Names this plugin.
            required: true
            choices: [farshore]
        url:
            description: The center's address.
            default: http://127.0.0.1:8080
            env:
                - name: FARSHORE_URL
        selector:
            description: Only nodes that it selects; without it, all.
"""


class InventoryModule(BaseInventoryPlugin, Constructable):  # type: ignore[misc] # no types there
    NAME = "farshore"

    def verify_file(self, path: str) -> bool:
        ours = path.endswith(("farshore.yml", "farshore.yaml"))
        return ours and bool(super().verify_file(path))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        url, selector = str(self.get_option("url")), self.get_option("selector")
        center = Center(url, patience_s=0)
        try:
            nodes = center.items("/nodes", {"facts": "true", "selector": selector})
            everyone = center.items("/nodes") if selector else nodes
            groups = center.items("/groups")
        except AnsibleBridgeError as exc:
            raise AnsibleParserError(str(exc)) from exc
        finally:
            center.close()
        paths = [group["path"] for group in groups]
        found = fleet.Fleet(nodes=nodes, everyone=everyone, paths=paths, whole=not selector)
        for name, who in found.clashes().items():
            self.display.warning(f"more than one group would be {name}: {'; '.join(who)}")
        self._fill(fleet.inventory(found, url))
        for node in nodes:
            self._fill_host(node)

    def _fill(self, document: dict[str, Any]) -> None:
        del document["_meta"]
        for name in document:
            self.inventory.add_group(name)
        for name, group in document.items():
            for host in group.get("hosts", ()):
                self.inventory.add_host(host, group=name)
            for child in group.get("children", ()):
                self.inventory.add_child(name, child)
            for variable, value in group.get("vars", {}).items():
                self.inventory.set_variable(name, variable, value)

    def _fill_host(self, node: dict[str, Any]) -> None:
        host = node["name"]
        plain = {"facts": node.get("facts") or {}, "labels": node.get("labels") or {}}
        values = fleet.variables({**node, "facts": {}, "labels": {}})
        # What nodes and people have written is never run as a template.
        values |= {f"farshore_{name}": wrap_var(value) for name, value in plain.items()}
        for name, value in values.items():
            self.inventory.set_variable(host, name, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), values, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), values, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), values, host, strict=strict)
