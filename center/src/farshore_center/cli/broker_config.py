"""``farshore-center broker-config``: prints the configuration of an external broker.

It only prints; docs/brokers.md says what to do with it.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from farshore_center.broker.render import (
    MosquittoSite,
    NatsSite,
    mosquitto_acl,
    mosquitto_conf,
    nats_conf,
)
from farshore_center.errors import CenterError
from farshore_center.settings import LOOPBACK, SettingsError, read_address

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Prints a complete configuration for an external broker (loopback, no login).",
)

Mqtt = Annotated[str, typer.Option("--mqtt", help="HOST:PORT for nodes")]
Data = Annotated[str, typer.Option("--data", help="folder of the broker's data")]
Center = Annotated[
    int, typer.Option("--center-port", help="port for the center and operators", min=1, max=65535)
]
_DATA = "farshore-data/broker"
_MQTT = "127.0.0.1:1883"


def _place(mqtt: str) -> tuple[str, int]:
    address = read_address("--mqtt", mqtt)
    if address.host not in LOOPBACK:
        raise SettingsError(
            f"--mqtt = {address}: these configurations have no login and no TLS, so they take "
            f"loopback addresses only, expected one of {', '.join(LOOPBACK)}"
        )
    return address.host, address.port


def _plain(key: str, text: str) -> str:
    """Neither format can hold every character in a value, so none of them is to be quoted."""
    if not text or not text.isprintable() or any(mark in text for mark in ' "\\#'):
        raise SettingsError(
            f"{key} = {text!r}: expected printable characters without spaces, quotes, '#' and '\\'"
        )
    return text


def _print(render: Callable[[], str]) -> None:
    try:
        text = render()
    except CenterError as exc:
        sys.stderr.write(f"farshore-center: {exc}\n")
        raise typer.Exit(2) from exc
    sys.stdout.write(text)


def _mosquitto_site(
    mqtt: str, center_port: int, data: str, user: str | None = None
) -> MosquittoSite:
    host, port = _place(mqtt)
    if port == center_port:
        raise SettingsError(f"--center-port = {port}: expected another one than the nodes'")
    return MosquittoSite(
        host=host,
        nodes_port=port,
        center_port=center_port,
        data=_plain("--data", data),
        user=None if user is None else _plain("--user", user),
    )


def _nats_site(mqtt: str, native_port: int, data: str) -> NatsSite:
    host, port = _place(mqtt)
    if port == native_port:
        raise SettingsError(f"--native-port = {port}: expected another one than MQTT's")
    return NatsSite(host=host, mqtt_port=port, native_port=native_port, data=_plain("--data", data))


@app.command()
def mosquitto(
    mqtt: Mqtt = _MQTT,
    center_port: Center = 1884,
    data: Data = _DATA,
    user: Annotated[
        str | None, typer.Option(help="who Mosquitto becomes when root starts it")
    ] = None,
) -> None:
    """mosquitto.conf; put what mosquitto-acl prints into DATA/mosquitto.acl."""
    _print(lambda: mosquitto_conf(_mosquitto_site(mqtt, center_port, data, user)))


@app.command("mosquitto-acl")
def mosquitto_acl_file(data: Data = _DATA) -> None:
    """The access rule that mosquitto.conf names: each node keeps to its own topics."""
    _print(lambda: mosquitto_acl(MosquittoSite(data=_plain("--data", data))))


@app.command()
def nats(
    mqtt: Mqtt = _MQTT,
    native_port: Annotated[
        int, typer.Option(help="port of NATS's own protocol", min=1, max=65535)
    ] = 4222,
    data: Data = _DATA,
) -> None:
    """nats-server.conf, with JetStream and MQTT."""
    _print(lambda: nats_conf(_nats_site(mqtt, native_port, data)))
