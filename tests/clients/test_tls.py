"""Who is trusted, and what is spoken over TLS."""

import contextlib
import hashlib
import os
import ssl

import pytest

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.errors import ConfigError, SetupError
from tests.servers.raw_http import raw_server, reply


@contextlib.contextmanager
def tls_server(certificate, certificates):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificates.key)
    with raw_server(tls=tls) as server:
        server.answers["/a"] = reply(body=b"a")
        yield server


def test_certificates_are_verified(fetch, certificates):
    ours = {"ca_file": str(certificates.authority)}
    with tls_server(certificates.server, certificates) as server:
        url, other = f"{server.url}/a", f"https://other.test:{server.port}/a"
        lookup = {"other.test": ["127.0.0.1"]}
        (stranger,) = fetch(url)
        good, wrong_name = fetch(
            url, other, lookup=lambda host, port: lookup.get(host, [host]), **ours
        )
        unverified, same = fetch(url, other, lookup=lambda host, port: [host], verify_tls=False)
    assert (stranger.failure, wrong_name.failure) == (Failure.CERTIFICATE,) * 2
    assert "authority" in stranger.error or "issuer" in stranger.error
    assert "other.test" in wrong_name.error
    assert good.content == unverified.content == b"a"
    assert same.failure is not Failure.CERTIFICATE


@pytest.mark.parametrize(
    ("kind", "reason"), [("expired", "expired"), ("self_signed", "self-signed")]
)
def test_certificates_that_are_not_good_are_told_with_the_reason(fetch, certificates, kind, reason):
    with tls_server(getattr(certificates, kind), certificates) as server:
        (one,) = fetch(f"{server.url}/a", ca_file=str(certificates.authority), max_tries=3)
        assert (one.failure, one.num_tries) == (Failure.CERTIFICATE, 1)
        assert reason in one.error.replace("self signed", "self-signed")
        assert server.asked == []


def test_tls_to_a_server_without_is_a_tls_failure(fetch, nginx):
    (one,) = fetch(f"https://127.0.0.1:{nginx.port}/1.jpg")
    assert one.failure is Failure.TLS


def test_the_systems_certificates_may_lie_in_a_folder(fetch, certificates, tmp_path, monkeypatch):
    # OpenSSL finds a certificate by the hash of its subject's name
    name = b"\x0c\x0etest authority"
    subject = b"\x31\x17\x30\x15\x06\x03\x55\x04\x03" + name
    hashed = hashlib.sha1(subject).digest()[3::-1].hex()
    (tmp_path / f"{hashed}.0").symlink_to(certificates.authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with tls_server(certificates.server, certificates) as server:
        (one,) = fetch(f"{server.url}/a")
    assert (one.failure, one.content) == (None, b"a")


def test_without_any_certificate_to_trust_nothing_begins(options, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"there is no file '/no/ca\.pem'"):
        Fetcher(options(ca_file="/no/ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(SetupError, match="no certificates to trust"):
        Fetcher(options())
    os.rmdir(tmp_path)
    with pytest.raises(SetupError, match="Install your system's ca-certificates"):
        Fetcher(options())
    Fetcher(options(verify_tls=False)).close()


def test_http_2_is_spoken_where_the_server_can(nginx, fetch, certificates):
    before = nginx.access_log.read_text()
    urls = [f"https://localhost:{nginx.tls_port}/{number}.jpg" for number in range(50)]
    fetched = fetch(*urls, ca_file=str(certificates.authority))
    assert [len(one.content) for one in fetched] == [100 + 1000 * number for number in range(50)]
    lines = nginx.access_log.read_text().removeprefix(before).splitlines()
    ours = [line for line in lines if line.startswith("HTTP/2.0 ")]
    assert len(ours) >= 50
    assert len(set(ours)) == 1  # all over one connection
