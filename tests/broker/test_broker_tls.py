"""Certificates: what the gate is told is what this very connection proved."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from broker.workbench import MakeBench

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys")


def make_certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate and its key, in one file."""
    file = folder / f"{name}.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", *curve, *subject),
            *("-keyout", str(folder / "key"), "-out", str(folder / "certificate")),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return file


def client_context(server: Path, own: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(server))
    if own is not None:
        context.load_cert_chain(own)
    return context


def der(file: Path) -> bytes:
    pem = file.read_text()
    return ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])


async def test_a_reconnect_is_judged_by_its_own_certificate(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    """Another certificate, or none, never passes for that of an earlier, persistent session."""
    server, one, two = (make_certificate(tmp_path, n) for n in ("localhost", "one", "two"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server)
    context.verify_mode = ssl.CERT_OPTIONAL
    for trusted in (one, two):
        context.load_verify_locations(trusted)
    bench = await make_bench(tls=context)
    for own in (one, two, None):
        client = await bench.client("bob", clean=False, tls=client_context(server, own))
        await client.publish("t", b"1")
        await client.disconnect()
    assert [c.certificate for c, _ in bench.admitted] == [der(one), der(two), None]
    certificates = [p.client.certificate for p in bench.ingested if p.client is not None]
    assert certificates == [der(one), der(two), None]
