import pytest

from hpcpipe.clients.url import BadUrlError, join_url, parse_url


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://a.b/c", "http://a.b/c"),
        (" HTTP://A.B:80 \n", "http://a.b/"),
        ("https://a.b:443/x?y#z", "https://a.b/x?y"),
        ("https://a.b:8443?q=1", "https://a.b:8443/?q=1"),
        ("http://a/with space/ü?q=[1]&r=%20|", "http://a/with%20space/%C3%BC?q=[1]&r=%20%7C"),
        ("http://a/line\r\nX-Evil: 1", "http://a/line%0D%0AX-Evil:%201"),
        ("http://a/b/../c/./d", "http://a/c/d"),
        ("http://a/b/%2e%2e/private", "http://a/private"),
        ("http://a/../..", "http://a/"),
        ("http://a/b//c?x=/../y", "http://a/b//c?x=/../y"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://a_b.example./", "http://a_b.example/"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://0177.0.0.1./", "http://127.0.0.1/"),
        ("http://127.1/", "http://127.0.0.1/"),
        ("http://\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11/", "http://127.0.0.1/"),
        ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:127.0.0.1]/"),
        ("http://cafe1.de./", "http://cafe1.de/"),
        (
            "http://пример.испытание/файл",
            "http://xn--e1afmkfd.xn--80akhbyknj4f/%D1%84%D0%B0%D0%B9%D0%BB",
        ),
        ("http://a/\udcff", "http://a/?"),
    ],
)
def test_a_url_is_cleaned(text, clean):
    url = parse_url(text)
    assert url.text == clean
    assert url.text == url.origin + url.path


def test_a_url_comes_in_parts():
    url = parse_url("https://Example.org:8443/a?b")
    assert url.origin == "https://example.org:8443"
    assert (url.host, url.port, url.path) == ("example.org", 8443, "/a?b")
    assert (parse_url("https://a").port, parse_url("http://a").port) == (443, 80)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no http or https URL"),
        ("a.b/c", "no http or https URL"),
        ("ftp://a/b", "neither http nor https but ftp"),
        ("file:///etc/passwd", "neither http nor https but file"),
        ("data:image/png;base64,xx", "neither http nor https but data"),
        ("http:///a", "no http or https URL"),
        ("http://user:secret@a/", "the URL names a user"),
        ("http://good.org\\@127.0.0.1/", "the URL names a user"),
        ("http://a b/", "no http or https URL"),
        ("http://a..b/", "'a..b' is no host name"),
        ("http://-a/", "'-a' is no host name"),
        ("http://a%00b/", "'a%00b' is no host name"),
        ("http://256.1.1.1/", "'256.1.1.1' is neither an IPv4 address nor a host name"),
        ("http://1.2.3.4.5/", "neither an IPv4 address"),
        ("http://a.0x7f/", "neither an IPv4 address"),
        ("http://[::1%25eth0]/", "no http or https URL"),
        ("http://127.0.0.1%2f@a/", "the URL names a user"),
        ("http://a:0/", "port 0"),
        ("http://a:70000/", "port 70000"),
        ("http://[::12345]/", "[::12345] is no IPv6 address"),
        ("http://" + "ü" * 100 + "/", "is no host name"),
        ("http://a/" + "b" * 100_000, "a URL of 100009 characters"),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_its_reason(text, why):
    with pytest.raises(BadUrlError, match=r".") as raised:
        parse_url(text)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x", "http://a/x"),
        ("x?y", "http://a/b/x?y"),
        ("//c/d", "http://c/d"),
        ("https://c/d ", "https://c/d"),
        ("?q", "http://a/b/c?q"),
    ],
)
def test_a_redirect_is_followed_from_where_it_is(location, target):
    assert join_url(parse_url("http://a/b/c"), location).text == target


@pytest.mark.parametrize("location", ["ftp://a/b", "http://[/x", "javascript:1"])
def test_a_redirect_to_what_is_no_http_is_refused(location):
    with pytest.raises(BadUrlError):
        join_url(parse_url("http://a/b"), location)
