"""``net-probe`` over HTTP and HTTPS: status, times, and until when a certificate is good."""

import contextlib
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from edge.probe_bench import NOW, closed_port, code, probe, result, serving
from farshore_edge.commands.verbs.probe.certificate import CertificateError, not_after
from hypothesis import given
from hypothesis import strategies as st


async def test_http_tells_status_and_times_and_follows_nothing() -> None:
    head = b"HTTP/1.1 301 Moved\r\nServer: s\r\nLocation: http://127.0.0.1:1/x\r\n\r\nbody"
    async with serving(head) as port:
        found = result(await probe(kind="http", url=f"http://localhost:{port}/a?b=c"))
    http = found["http"]
    assert (http["status"], http["reason"], http["location"]) == (
        301,
        "Moved",
        "http://127.0.0.1:1/x",
    )
    assert http["tls_ms"] is None
    assert http["dns_ms"] > 0
    assert 0 < http["connect_ms"] <= http["total_ms"]
    assert 0 < http["first_byte_ms"] <= http["total_ms"]
    assert "body" not in str(found)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(b"SSH-2.0-x\r\n\r\n", "no_http"), (b"\xff" * 40_000, "no_http"), (b"", "timed_out")],
)
async def test_what_is_no_http(answer: bytes, expected: str) -> None:
    async with serving(answer) as port:
        outcome = await probe(kind="http", url=f"http://127.0.0.1:{port}/", wait_s=0.3)
    assert code(outcome) == expected


async def test_http_where_nobody_listens() -> None:
    outcome = await probe(kind="http", url=f"http://127.0.0.1:{closed_port()}/")
    assert code(outcome) == "no_answer"
    assert code(await probe(kind="http", url="http://me:secret@127.0.0.1/")) == "bad_args"


class Authority:
    """Makes a certificate for 127.0.0.1 that ends in so many days, signed by itself."""

    def __init__(self, folder: Path, days: float) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        self.ends = (NOW + datetime.timedelta(days=days)).replace(microsecond=0)
        alternative = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
            .not_valid_after(self.ends)
            .add_extension(alternative, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.file = folder / "cert.pem"
        pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private = key.private_bytes(pem, plain, serialization.NoEncryption())
        self.file.write_bytes(certificate.public_bytes(pem) + private)

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context

    def client(self, verify: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.file))
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def test_https_tells_until_when_the_certificate_is_good(tmp_path: Path) -> None:
    authority = Authority(tmp_path, days=30)
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n", authority.server()) as port:
        url = f"https://127.0.0.1:{port}/"
        found = result(await probe(kind="http", url=url, tls=authority.client))["http"]
        assert found["status"] == 204
        assert found["tls_ms"] > 0
        assert found["certificate"]["not_after"] == authority.ends.isoformat()
        assert found["certificate"]["days_left"] == pytest.approx(30, abs=0.1)
        assert found["certificate"]["protocol"].startswith("TLSv1")
        refused = await probe(kind="http", url=url)
        assert code(refused) == "bad_certificate", "the machine's authorities do not know it"
        taken = result(await probe(kind="http", url=url, verify=False))["http"]
        assert taken["certificate"]["not_after"] == authority.ends.isoformat()


async def test_a_server_without_tls_is_told(tmp_path: Path) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        outcome = await probe(kind="http", url=f"https://127.0.0.1:{port}/", wait_s=1)
    assert code(outcome) in ("no_tls", "no_answer", "timed_out")


@pytest.mark.parametrize("days", [10, 365 * 40])  # UTCTime, and GeneralizedTime from 2050 on
def test_the_end_of_any_certificate_is_read(tmp_path: Path, days: float) -> None:
    authority = Authority(tmp_path, days)
    assert not_after(authority.der) == authority.ends


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading_of_a_certificate(data: bytes) -> None:
    with contextlib.suppress(CertificateError):
        not_after(data)
