"""The load is what a node sends: the center's own reading accepts every message of it."""

from farshore_center.ingest.arrival import read
from farshore_protocol.codec import decode, encode
from farshore_protocol.messages import Birth, Presence
from farshore_protocol.stream import StreamAck
from farshore_protocol.topics import Up, parse

from bench.mqtt import split
from bench.publisher import covered
from bench.records import EPOCH, Load, arrival_packets, node_names, packet_id, record_packets

NOW_MS = 1_772_359_200_000


def messages(packets: list[bytes]) -> list[tuple[Up, bytes, int]]:
    """Topic, payload and packet id of PUBLISH packets."""
    found = []
    for first, body in split(bytearray(b"".join(packets)))[0]:
        assert first >> 4 == 3
        end = 2 + int.from_bytes(body[:2], "big")
        topic = parse(body[2:end].decode())
        assert isinstance(topic, Up)
        found.append((topic, body[end + 2 :], int.from_bytes(body[end : end + 2], "big")))
    return found


def test_every_record_is_valid_small_and_once_there() -> None:
    load = Load(port=1, nodes=3, messages=300, warm_up=7, window=8, plain=False)
    names = node_names(load)
    assert len(set(names)) == 3
    for node in names:
        found = messages(record_packets(node, load, now_ms=NOW_MS))
        arrivals = [read(topic, payload) for topic, payload, _ in found]
        assert all(arrival.fault is None for arrival in arrivals)
        assert [arrival.envelope.seq for arrival in arrivals] == list(range(1, 108))
        assert {arrival.key for arrival in arrivals} == {(node, "metrics", EPOCH)}
        assert {arrival.envelope.ts < NOW_MS for arrival in arrivals} == {True}
        assert [number for _, _, number in found] == list(range(1, 108))
        assert all(300 <= len(payload) <= 400 for _, payload, _ in found)


def test_packet_ids_begin_again_after_the_last_one() -> None:
    assert [packet_id(seq) for seq in (1, 65_534, 65_535, 65_536)] == [1, 65_534, 65_535, 1]


def test_a_node_arrives_with_its_presence_and_its_stream() -> None:
    presence, birth = messages(arrival_packets("n1", now_ms=NOW_MS))
    assert presence[0] == Up(node="n1", kind="presence")
    assert decode(Presence, presence[1]).state == "online"
    assert decode(Birth, birth[1]).streams["metrics"].epoch == EPOCH


def test_an_acknowledgement_covers_its_ranges_of_our_stream_alone() -> None:
    ranges = ((1, 10), (12, 12))
    assert covered(encode({"metrics": StreamAck(epoch=EPOCH, ranges=ranges)})) == 11
    assert covered(encode({"metrics": StreamAck(epoch="another", ranges=ranges)})) is None
    assert covered(encode({"events": StreamAck(epoch=EPOCH, ranges=ranges)})) is None
