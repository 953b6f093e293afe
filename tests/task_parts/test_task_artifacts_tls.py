"""Artifacts by HTTPS: from who can prove who he is, and from nobody else."""

import datetime
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from farshore_edge.tasks.artifacts import HostArtifacts
from farshore_edge.tasks.drivers.model import DriverError
from farshore_protocol.tasks.spec import Artifact

BODY = b"weights"
DAY = datetime.timedelta(days=1)


def certificate(folder: Path, host: str) -> Path:
    """Signed by itself, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address(host))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    text = made.public_bytes(encoding) + key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{host}.pem"
    file.write_bytes(text)
    return file


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture(params=["127.0.0.1", "127.0.0.2"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path, Artifact]]:
    """The host of its certificate, the certificate, and what it offers at 127.0.0.1."""
    file = certificate(tmp_path, request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    digest = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    url = f"https://127.0.0.1:{server.server_port}/weights"
    try:
        yield request.param, file, Artifact(url=url, digest=digest, path="weights")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("trusted", [True, False])
async def test_only_who_proves_who_he_is_is_believed(
    shop: tuple[str, Path, Artifact], trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the machine's own certificates; a right digest does not make up for a wrong name."""
    host, file, artifact = shop
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    folder = tmp_path / "files"
    folder.mkdir()
    fetching = HostArtifacts(pause_s=0.0).fetch((artifact,), folder)
    if trusted and host == "127.0.0.1":
        await fetching
        assert (folder / "weights").read_bytes() == BODY
        return
    with pytest.raises(DriverError, match=r"certificate verify failed") as caught:
        await fetching
    assert (caught.value.code, caught.value.permanent) == ("unreachable", False)
    assert not (folder / "weights").exists()
