"""Certificates of an authority of our own, for servers on loopback."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates(NamedTuple):
    """PEM files: certificates of the authority and of servers, and the servers' key."""

    authority: Path
    server: Path
    expired: Path
    self_signed: Path
    key: Path


def make_certificates(folder: Path, names: list[str]) -> Certificates:
    """Make an authority and a server's certificates for names and addresses. Raises OSError."""
    kinds = ("authority", "server", "expired", "self_signed")
    files = Certificates(*[folder / f"{kind}.pem" for kind in kinds], folder / "server.key")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    alternatives = x509.SubjectAlternativeName([_name(name) for name in names])
    ca = _certificate("test authority", ca_key.public_key(), "test authority").add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    files.authority.write_bytes(_pem(ca.sign(ca_key, hashes.SHA256())))
    for file, issuer, issuer_key, days in (
        (files.server, "test authority", ca_key, 10),
        (files.expired, "test authority", ca_key, -1),
        (files.self_signed, names[0], key, 10),
    ):
        made = _certificate(names[0], key.public_key(), issuer, days)
        made = made.add_extension(alternatives, critical=False)
        file.write_bytes(_pem(made.sign(issuer_key, hashes.SHA256())))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def _certificate(subject: str, public_key, issuer: str, days: int = 10) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
