import pytest

from hpcpipe.clients import resolver, transfer
from hpcpipe.clients.addresses import is_public
from hpcpipe.clients.failure import Failure
from tests.servers.raw_http import raw_server, redirect, reply


@pytest.fixture
def public(monkeypatch):
    """Let 127.0.0.2 pass for a public address."""
    for module in (resolver, transfer):
        monkeypatch.setattr(module, "is_public", lambda a: a == "127.0.0.2" or is_public(a))


def test_redirects_are_followed_to_the_file(fetch, server):
    with raw_server("127.0.0.2") as other:
        server.answers["/a"] = redirect("/b?c")
        server.answers["/b?c"] = redirect(f"{other.url}/d")
        other.answers["/d"] = reply("200 OK", b"file", "Content-Type: image/png")
        (one,) = fetch(f"{server.url}/a")
    assert (one.failure, one.content, one.content_type) == (None, b"file", "image/png")
    assert (one.url, one.final_url) == (f"{server.url}/a", f"{other.url}/d")
    assert one.num_tries == 1


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("/a", "redirected in a circle"),
        ("/b", "redirected in a circle"),
        ("", "redirected to nowhere: no Location"),
        ("ftp://127.0.0.1/x", "neither http nor https but ftp"),
        ("file:///etc/passwd", "neither http nor https but file"),
        ("http://user:word@127.0.0.1/", "the URL names a user"),
        ("http://[::1", "redirected to what cannot be fetched"),
    ],
)
def test_redirects_that_lead_nowhere_are_not_followed(fetch, server, location, error):
    server.answers["/a"] = redirect(location)
    server.answers["/b"] = redirect("/a")
    (one,) = fetch(f"{server.url}/a")
    assert one.failure is Failure.BAD_REDIRECT
    assert error in one.error


def test_there_is_an_end_to_redirects(fetch, server):
    for number in range(5):
        server.answers[f"/{number}"] = redirect(f"/{number + 1}")
    server.answers["/5"] = reply(body=b"x")
    (enough,) = fetch(f"{server.url}/0", max_redirects=5)
    (too_few,) = fetch(f"{server.url}/0", max_redirects=4)
    assert enough.content == b"x"
    assert (too_few.failure, too_few.error) == (Failure.BAD_REDIRECT, "more than 4 redirects")


def test_private_addresses_are_refused(fetch, server):
    spellings = ("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.1", "127.0.0.1.")
    spellings += ("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "0", "localhost")
    for host in spellings:
        (one,) = fetch(f"http://{host}:{server.port}/a", allow_private_hosts=False)
        assert one.failure is Failure.REFUSED_ADDRESS
        assert "unless allow_private_hosts is true" in one.error
    assert server.asked == []


def test_users_and_passwords_are_neither_used_nor_told(fetch, server):
    server.answers["/a"] = redirect(f"http://user:secret@127.0.0.1:{server.port}/b")
    listed, redirected = fetch(f"http://user:secret@127.0.0.1:{server.port}/b", f"{server.url}/a")
    assert (listed.failure, redirected.failure) == (Failure.BAD_URL, Failure.BAD_REDIRECT)
    for one in (listed, redirected):
        assert "names a user" in one.error
        assert "secret" not in one.error + one.final_url
    assert server.paths() == {"/a": 1}


def test_what_no_url_may_hold_is_encoded_and_what_follows_a_hash_not_sent(fetch, server):
    paths = ("/%D1%84/x%20y?q=%C3%BC%7C", "/%C3%BC")
    for path in paths:
        server.answers[path] = reply(body=b"x")
    server.answers["/away"] = redirect("/\xfc#part")
    urls = [server.url + path for path in ("/ф/x y?q=ü|#part", "/away", "/" + "x" * 100_000)]
    *good, long = fetch(*urls)
    assert [one.content for one in good] == [b"x"] * 2
    assert [one.final_url for one in good] == [server.url + path for path in paths]
    assert (long.failure, long.error) == (
        Failure.BAD_URL,
        f"a URL of {len(urls[2])} characters",
    )


def test_names_that_lead_to_private_addresses_are_refused(fetch, server):
    def lookup(host, port):
        return ["127.0.0.1", "10.0.0.1"]

    url = f"http://innocent.test:{server.port}/a"
    (one,) = fetch(url, lookup=lookup, allow_private_hosts=False)
    assert one.failure is Failure.REFUSED_ADDRESS
    assert server.num_connections == 0


def test_redirects_to_private_addresses_are_refused(fetch, server, public):
    with raw_server("127.0.0.2") as open_to_all:
        open_to_all.answers["/a"] = redirect(f"http://inside.test:{server.port}/secret")
        open_to_all.answers["/b"] = redirect(f"{server.url}/secret")
        open_to_all.answers["/c"] = reply(body=b"c")
        fetched = fetch(
            *[f"{open_to_all.url}/{path}" for path in "abc"],
            lookup=lambda host, port: ["127.0.0.1"],
            allow_private_hosts=False,
        )
    assert [one.failure for one in fetched] == [Failure.REFUSED_ADDRESS] * 2 + [None]
    assert server.num_connections == 0


def test_of_several_addresses_the_public_ones_are_used(fetch, server, public):
    with raw_server("127.0.0.2", server.port) as open_to_all:
        open_to_all.answers["/a"] = reply(body=b"public")
        (one,) = fetch(
            f"http://both.test:{server.port}/a",
            lookup=lambda host, port: ["127.0.0.1", "127.0.0.2"],
            allow_private_hosts=False,
        )
    assert one.content == b"public"
    assert server.num_connections == 0


def test_a_socket_to_a_private_address_is_never_opened(fetch, server, monkeypatch):
    # as if the look-up had let it pass
    monkeypatch.setattr(resolver, "is_public", lambda address: True)
    (one,) = fetch(f"{server.url}/a", allow_private_hosts=False)
    assert one.failure is Failure.REFUSED_ADDRESS
    assert server.num_connections == 0
