"""A certificate that this machine gives itself, because browsers want https for a microphone."""

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = timedelta(days=825)  # the most that every browser takes


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a new certificate and its key: (certificate, key).

    Args:
        folder: Where; the key can be read by its owner alone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "voiceglm")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(_names()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def _names() -> list[x509.GeneralName]:
    """Return what this machine is called, by itself and by others."""
    host = socket.gethostname()
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        found = set()
    addresses = {str(address).partition("%")[0] for address in found} | {"127.0.0.1", "::1"}
    numbers = [x509.IPAddress(ipaddress.ip_address(each)) for each in sorted(addresses)]
    return [x509.DNSName("localhost"), x509.DNSName(host), *numbers]
