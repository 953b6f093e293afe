"""``farshore-center broker-config``: the printed configurations, and what they are compared with."""

import subprocess
import sys
from pathlib import Path

import pytest
from farshore_center.broker.render import (
    MAX_PACKET_BYTES,
    MosquittoSite,
    NatsSite,
    mosquitto_acl,
    mosquitto_conf,
    nats_conf,
)
from farshore_protocol.codec import MAX_MESSAGE_BYTES

DEPLOY = Path(__file__).parents[2] / "deploy" / "brokers"
PROGRAM = Path(sys.executable).with_name("farshore-center")


def printed(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "broker-config", *args], capture_output=True, text=True, check=False, timeout=30
    )


DEFAULTS = [
    ("mosquitto", "mosquitto.conf", mosquitto_conf(MosquittoSite())),
    ("mosquitto-acl", "mosquitto.acl", mosquitto_acl(MosquittoSite())),
    ("nats", "nats-server.conf", nats_conf(NatsSite())),
]


@pytest.mark.parametrize(("kind", "file", "rendered"), DEFAULTS)
def test_the_defaults_stand_in_deploy_and_are_printed(kind: str, file: str, rendered: str) -> None:
    assert (DEPLOY / file).read_text() == rendered
    answer = printed(kind)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, rendered, "")


def test_every_option_reaches_the_text() -> None:
    options = ("--mqtt", "[::1]:2883", "--center-port", "2884", "--data", "/srv/b", "--user", "me")
    text = printed("mosquitto", *options).stdout
    for line in (
        "listener 2883 ::1",
        "listener 2884 ::1",
        "acl_file /srv/b/mosquitto.acl",
        "persistence_location /srv/b/",
        "user me",
    ):
        assert f"\n{line}\n" in text
    assert "mqtt://[::1]:2884" in text
    text = printed(
        "nats", "--mqtt", "[::1]:2883", "--native-port", "2222", "--data", "/srv/b"
    ).stdout
    for part in ('listen: "[::1]:2883"', 'listen: "[::1]:2222"', 'store_dir: "/srv/b/nats"'):
        assert part in text


REFUSED = {
    "a network that is not loopback": (("nats", "--mqtt", "0.0.0.0:1883"), "loopback"),
    "no port": (("mosquitto", "--mqtt", "localhost"), "expected HOST:PORT"),
    "one port for two": (("mosquitto", "--center-port", "1883"), "another one"),
    "one port for two protocols": (("nats", "--native-port", "1883"), "another one"),
    "a folder that ends the value": (("nats", "--data", 'x"\nmqtt {}'), "expected printable"),
    "a user that is another line": (("mosquitto", "--user", "me\nx"), "expected printable"),
}


@pytest.mark.parametrize(("args", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_configuration_is_refused(args: tuple[str, ...], reason: str) -> None:
    answer = printed(*args)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert reason in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_the_largest_message_fits_with_its_topic() -> None:
    assert MAX_PACKET_BYTES >= MAX_MESSAGE_BYTES + 1_024 + 16
