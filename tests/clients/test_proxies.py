"""Fetching by way of a proxy that the environment names."""

import contextlib
import socket
import threading

import pytest

from hpcpipe.clients.failure import Failure
from tests.servers.raw_http import raw_server, redirect, reply


def tunnel(port: int):
    """The answer to CONNECT: bytes go to and fro between the client and a port here."""

    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def answer(connection, asked):
        with socket.create_connection(("127.0.0.1", port)) as far:
            connection.sendall(b"HTTP/1.1 200 Connected\r\nX-Robots-Tag: noai\r\n\r\n")
            back = threading.Thread(target=pump, args=(far, connection))
            back.start()
            pump(connection, far)
            back.join()
        raise ConnectionAbortedError

    return answer


def nobody(host, port):
    raise AssertionError(f"{host} was looked up")


def test_a_proxy_looks_names_up(fetch, server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "direct.test")
    server.answers["http://far.test/a"] = reply(body=b"by proxy")
    server.answers["/a"] = reply(body=b"direct")
    asked = []
    urls = ["http://far.test/a", f"http://direct.test:{server.port}/a"]
    far, near = fetch(*urls, lookup=lambda host, port: asked.append(host) or ["127.0.0.1"])
    assert (far.content, near.content) == (b"by proxy", b"direct")
    assert asked == ["direct.test"]


def test_https_goes_through_a_tunnel_and_is_verified(
    fetch, server, nginx, certificates, monkeypatch
):
    monkeypatch.setenv("https_proxy", server.url.replace("//", "//user:secret@"))
    server.answers["good.test:443"] = server.answers["bad.test:443"] = tunnel(nginx.tls_port)
    good, bad = fetch(
        "https://good.test/7.jpg",
        "https://bad.test/7.jpg",
        ca_file=str(certificates.authority),
        lookup=nobody,
    )
    assert (good.failure, good.content) == (None, (nginx.root / "7.jpg").read_bytes())
    assert bad.failure is Failure.CERTIFICATE
    assert {asked.headers["proxy-authorization"] for asked in server.asked} == {
        "Basic dXNlcjpzZWNyZXQ="
    }


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_a_proxy_refuses_fails_and_tells_no_password(fetch, server, monkeypatch, scheme):
    monkeypatch.setenv("all_proxy", server.url.replace("//", "//user:secret@"))
    server.answers["far.test:443"] = reply("407 Proxy Authentication Required")
    server.answers["http://far.test/a"] = reply("407 Proxy Authentication Required")
    (refused,) = fetch(f"{scheme}://far.test/a", lookup=nobody)
    server.close()
    (gone,) = fetch(f"{scheme}://far.test/a", lookup=nobody)
    assert refused.failure is (Failure.HTTP_4XX if scheme == "http" else Failure.CONNECT)
    assert "407" in refused.error
    assert gone.failure is Failure.CONNECT
    assert "secret" not in refused.error + gone.error


def test_private_addresses_are_refused_with_a_proxy_too(fetch, server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    server.answers["http://far.test/a"] = redirect("http://169.254.169.254/latest")
    server.answers["http://far.test/b"] = redirect("http://localhost/b")
    urls = [
        "http://10.0.0.1/a",
        "http://0x7f.1/a",
        "http://[::ffff:10.0.0.1]/",
        "http://localhost/a",
    ]
    urls += ["http://a.localhost/", "http://far.test/a", "http://far.test/b"]
    fetched = fetch(*urls, allow_private_hosts=False, lookup=nobody)
    assert [one.failure for one in fetched] == [Failure.REFUSED_ADDRESS] * len(urls)
    assert set(server.paths()) == {"http://far.test/a", "http://far.test/b"}


def test_what_goes_to_a_proxy_is_decided_once(fetch, server, monkeypatch):
    # libcurl understands this by itself, and would connect to what nobody vetted
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    with raw_server("127.0.0.2") as other:
        server.answers[f"{other.url}/a"] = reply(body=b"by proxy")
        (one,) = fetch(f"{other.url}/a")
        assert one.content == b"by proxy"
        assert other.num_connections == 0
