"""Verbs that look at the network, restart and reboot mean a simulated node, and never this machine."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from farshore_sim.fleet import power
from sim.started import Center, center, when
from sim.test_sim_fleet import fleet

HOST_BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
pytestmark = pytest.mark.processes


async def ask(there: Center, node: str, verb: str, **args: Any) -> dict[str, Any]:
    done = await there.command(node=node, verb=verb, args=args, ttl_s=60)
    target: dict[str, Any] = done["targets"][0]
    return target


@pytest.mark.parametrize("on_disk", [False, True])
async def test_a_simulated_node_restarts_and_reboots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    monkeypatch.setattr(power, "BOOT_S", 0.1)
    data = tmp_path / "data" if on_disk else None
    async with center(tmp_path / "center") as there, fleet(there.mqtt, 2, data=data) as two:
        name, other = two.names()
        before = (await there.online({name, other}))[name]["boot"]
        restarted = await ask(there, name, "restart-agent")
        assert restarted["state"] == "succeeded", restarted
        assert restarted["result"]["boot_before"] == before
        rebooted = await ask(there, name, "reboot")
        assert rebooted["state"] == "succeeded", rebooted
        result = rebooted["result"]
        assert result["boot_id"] != result["boot_id_before"]
        assert HOST_BOOT not in result.values()
        assert two.broken() == []
        assert (await ask(there, other, "ping"))["state"] == "succeeded"


async def test_its_network_is_made_up_and_its_link_is_real(tmp_path: Path) -> None:
    async with center(tmp_path / "center") as there, fleet(there.mqtt, 1) as one:
        [name] = one.names()
        await there.online({name})
        found = await ask(there, name, "net-probe", kind="tcp", host="127.0.0.1", port=1)
        assert (found["state"], found["error"]["code"]) == ("failed", "no_connection")
        for args in (
            {"kind": "dns", "host": "www.example.org"},
            {"kind": "icmp", "host": "www.example.org"},
            {"kind": "http", "url": "https://www.example.org/"},
            {"kind": "path-mtu", "host": "black-hole.example.org"},
            {"kind": "tcp", "host": "www.example.org", "port": 443},
        ):
            found = await ask(there, name, "net-probe", **args)
            assert found["state"] == "succeeded", found
            again = await ask(there, name, "net-probe", **args)
            assert again["result"]["addresses"] == found["result"]["addresses"]
        assert (await ask(there, name, "net-probe", kind="dns", host="no-such"))[
            "state"
        ] == "failed"
        link = await ask(there, name, "link-test", bytes=50_000)
        assert link["result"]["up"]["complete"], link
        told = (await ask(there, name, "diagnose"))["result"]
        assert told["log"] == []
        assert "pid" not in told["sections"]["agent"], "nothing of the process that simulates it"
        assert str(os.getpid()) not in str(told["sections"]["disk"])


async def test_a_fleet_that_stops_while_a_node_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "BOOT_S", 60.0)
    async with center(tmp_path / "center") as there:
        async with fleet(there.mqtt, 1) as one:
            [name] = one.names()
            await there.online({name})
            asking = asyncio.create_task(ask(there, name, "reboot"))
            await when(lambda: one.connected() == 0, "the node to go down")
            asking.cancel()
            await asyncio.wait([asking])
        assert one.connected() == 0
