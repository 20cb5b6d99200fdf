import json

import pytest

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.host_rules import HostRules, matches
from hpcpipe.clients.records import Fetched
from hpcpipe.clients.url import parse_url


def came(content: bytes = b"", failure: Failure | None = None) -> Fetched:
    return Fetched(-1, "", "", failure, "why", 0, "", content, len(content), 0.1, 1)


def verdict(rules: HostRules, path: str) -> Failure | None:
    judged = rules.judge(parse_url("http://a" + path))
    return judged.failure if judged else None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        *(
            ("/", "/x"),
            ("/a", "/abc"),
            ("/a$", "/a"),
            ("*.jpg", "/a/b.jpg?x"),
            ("/*.jpg$", "/b.jpg"),
        ),
        *(("/a*c*e", "/abcde"), ("*", "/"), ("/a*$", "/ab"), ("", "/x"), ("/a*b$", "/ab")),
    ],
)
def test_a_pattern_matches_as_in_robots_txt(pattern, path):
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        *(("/b", "/a"), ("/a$", "/ab"), ("/*.jpg$", "/b.jpg?x"), ("/a*c*e", "/aec"), ("/A", "/a")),
        *(("/ab*b$", "/ab"), ("a", "/a")),
    ],
)
def test_a_pattern_does_not_match_what_differs(pattern, path):
    assert not matches(pattern, path)


def test_a_pattern_of_many_stars_takes_no_time():
    assert not matches("/" + "*a" * 2000 + "*b$", "/" + "a" * 8000)


def test_robots_txt_is_obeyed_for_our_name_before_all():
    rules = HostRules("hpcpipe", 1)
    rules.take_robots(
        came(b"\xef\xbb\xbfUser-agent: *\nDisallow: /\n\nUser-agent: HpcPipe\nDisallow: /private\n")
    )
    assert verdict(rules, "/public") is None
    assert verdict(rules, "/private/x") is Failure.ROBOTS_TXT


def test_a_robots_txt_of_many_stars_takes_no_time():
    rules = HostRules("hpcpipe", 1)
    rules.take_robots(came(b"User-agent: *\nDisallow: /" + b"*a" * 2000 + b"*b$\n"))
    assert verdict(rules, "/" + "a" * 8000) is None


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"\xff\xfe\x00", b"User-agent: *\nDisallow:\n"]
)
def test_a_robots_txt_that_forbids_nothing_forbids_nothing(content):
    rules = HostRules("hpcpipe", 1)
    rules.take_robots(came(content))
    assert verdict(rules, "/x") is None


@pytest.mark.parametrize(
    "failure", [Failure.NOT_FOUND, Failure.FORBIDDEN, Failure.BAD_REDIRECT, Failure.EMPTY]
)
def test_a_robots_txt_that_is_not_there_forbids_nothing(failure):
    rules = HostRules("hpcpipe", 1)
    rules.take_robots(came(failure=failure))
    assert verdict(rules, "/x") is None


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (Failure.HTTP_5XX, Failure.ROBOTS_UNREACHABLE),
        (Failure.TOO_MANY_REQUESTS, Failure.ROBOTS_UNREACHABLE),
        (Failure.CONNECT, Failure.CONNECT),
        (Failure.TIMEOUT, Failure.TIMEOUT),
    ],
)
def test_a_robots_txt_that_cannot_be_read_forbids_all(failure, told):
    rules = HostRules("hpcpipe", 1)
    rules.take_robots(came(failure=failure))
    judged = rules.judge(parse_url("http://a/x"))
    assert (judged.failure, judged.error) == (told, "robots.txt: why")
    assert told.is_transient


def test_the_first_rule_of_the_tdm_file_that_matches_counts():
    rules = HostRules("hpcpipe", 1)
    rules.take_tdm(
        came(
            json.dumps(
                [
                    {"location": "/free/", "tdm-reservation": 0},
                    {"location": "/*.jpg$", "tdm-reservation": 1},
                    {"location": "/text", "tdm-reservation": "1"},
                ]
            ).encode()
        )
    )
    assert verdict(rules, "/free/a.jpg") is None
    assert verdict(rules, "/a.jpg") is Failure.TDM_RESERVATION
    assert verdict(rules, "/text/1") is Failure.TDM_RESERVATION
    assert verdict(rules, "/other") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1, {}, null]", b'[{"location": 3}]', b"<html>", b"[" * 100_000, b"\xff"],
)
def test_a_tdm_file_that_is_none_reserves_nothing(content):
    rules = HostRules("hpcpipe", 1)
    rules.take_tdm(came(content))
    assert verdict(rules, "/x") is None
