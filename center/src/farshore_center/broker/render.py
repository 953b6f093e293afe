"""Configurations of external brokers, complete and commented, at development settings.

Pure: settings in, text out. It starts nothing and writes no file; the texts at their defaults stand
in ``deploy/brokers``. What each broker is for stands in docs/brokers.md.
"""

from dataclasses import dataclass
from textwrap import dedent

from farshore_protocol.topics import PREFIX, CenterState

from farshore_center.settings import Address

MAX_PACKET_BYTES = 131_072
"""A message of the largest size with its topic and MQTT's own bytes, and room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MosquittoSite:
    """``user``: who a Mosquitto that root starts becomes; None: its own default."""

    host: str = "127.0.0.1"
    nodes_port: int = 1883
    center_port: int = 1884
    data: str = "farshore-data/broker"
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSite:
    """``native_port``: for NATS's own protocol, which Farshore does not speak."""

    host: str = "127.0.0.1"
    mqtt_port: int = 1883
    native_port: int = 4222
    data: str = "farshore-data/broker"


def mosquitto_conf(site: MosquittoSite) -> str:
    user = (
        f"\n# Who Mosquitto becomes when root starts it.\nuser {site.user}\n" if site.user else ""
    )
    text = _text(
        f"""
        # Mosquitto 2 for Farshore at development settings: loopback, no login, no TLS.
        # Printed by: farshore-center broker-config mosquitto
        #
        # Two listeners, because without logins the way in is all that tells clients apart:
        #   {site.nodes_port}  nodes; the access rule in {_acl_file(site)} holds here
        #   {site.center_port}  the center and operators, who may do everything
        # Start:      mosquitto -c THIS_FILE
        # The center: farshore-center run --dev --mqtt mqtt://{_at(site.host, site.center_port)}
        # A node:     farshore-agent run --dev --node NAME --center mqtt://{_at(site.host, site.nodes_port)}

        per_listener_settings true

        listener {site.nodes_port} {site.host}
        allow_anonymous true
        acl_file {_acl_file(site)}

        listener {site.center_port} {site.host}
        allow_anonymous true

        # Everything at once reaches one client, the center. At the default of 1000, Mosquitto
        # drops messages for it that it has acknowledged to their senders. They are sent again
        # after 15 s, but need not be. Messages and bytes bound the queue of each client.
        max_queued_messages 100000
        max_queued_bytes 268435456

        # The default of 20 makes the center's throughput 20 messages a round trip.
        max_inflight_messages 1000

        # Larger ones are refused by everyone in Farshore; their sender is disconnected.
        max_packet_size {MAX_PACKET_BYTES}

        # QoS 0 is for words that are true only now: none are kept for who is slow.
        queue_qos0_messages false

        # Small packets at once: commands and their answers wait for nothing.
        set_tcp_nodelay true

        # A client takes its name from nobody.
        allow_zero_length_clientid false

        # Retained messages outlive a restart. After SIGKILL those since the last save are gone:
        # nodes say their presence on each connection, and Farshore asks for no more.
        persistence true
        persistence_location {site.data}/
        autosave_interval 300

        log_dest stderr
        log_type error
        log_type warning
        log_type notice
        """
    )
    return text + user


def mosquitto_acl(site: MosquittoSite) -> str:
    presence = f"{PREFIX}/up/%c/presence"
    return _text(
        f"""
        # The access rule for the nodes' listener: {_acl_file(site)}
        # Printed by: farshore-center broker-config mosquitto-acl
        #
        # %c is the client id, which is the node's name. Whatever is not named here is denied, by
        # delivery: Mosquitto grants every SUBSCRIBE and then filters. Without logins a client can
        # still call itself what it likes, so this keeps mistakes apart, and not enemies. (Mosquitto
        # 2.0.11 lets a client called 'a/tel' write below {PREFIX}/up/a/tel/, which is node a's.)

        # A node writes only under {PREFIX}/up/<node>/, and hears its own presence, to repair it.
        pattern write {PREFIX}/up/%c/#
        pattern read {presence}

        # It reads only its own, its groups' commands and the center's state.
        pattern read {PREFIX}/down/%c/#
        topic read {PREFIX}/group/+/cmd/+
        topic read {CenterState().build()}
        """
    )


def nats_conf(site: NatsSite) -> str:
    return _text(
        f"""
        # nats-server 2 for Farshore at development settings: loopback, no login, no TLS.
        # Printed by: farshore-center broker-config nats
        #
        # Start:      nats-server -c THIS_FILE
        # The center: farshore-center run --dev --mqtt mqtt://{_at(site.host, site.mqtt_port)}
        # A node:     farshore-agent run --dev --node NAME --center mqtt://{_at(site.host, site.mqtt_port)}
        #
        # Without logins everyone here may do everything. NATS has no rule by client id: the two
        # prefixes need a user for each node, with permissions on {PREFIX}.up.NODE.> and
        # {PREFIX}.down.NODE.> (a level of MQTT is a token of NATS).

        # MQTT wants a name: JetStream keeps sessions and retained messages under it.
        server_name: farshore-1

        # NATS's own protocol; Farshore does not use it.
        listen: "{_at(site.host, site.native_port)}"

        # Of MQTT messages too; larger ones are refused by everyone in Farshore.
        max_payload: {MAX_PACKET_BYTES}

        # What waits for one client that does not read; then it is disconnected.
        max_pending: 67108864

        jetstream {{
          store_dir: "{site.data}/nats"
          # QoS 1 messages stay on disk until everyone has acknowledged them. At the limit
          # publications get no PUBACK, and their senders keep them.
          max_memory_store: 67108864
          max_file_store: 1073741824
        }}

        mqtt {{
          listen: "{_at(site.host, site.mqtt_port)}"
          # Unacknowledged QoS 1 messages for each subscription of a client; one that ends with '#'
          # counts twice, and all of a client together may be 65535. A node has up to 12
          # subscriptions, the center 2.
          max_ack_pending: 2048
          # After how long an unacknowledged message goes again.
          ack_wait: "30s"
        }}
        """
    )


def _at(host: str, port: int) -> str:
    return str(Address(host=host, port=port))


def _acl_file(site: MosquittoSite) -> str:
    return f"{site.data}/mosquitto.acl"


def _text(indented: str) -> str:
    return dedent(indented).lstrip("\n")
