import datetime
import email.utils

import pytest

from hpcpipe.clients.head import Head


def head(*lines: str) -> Head:
    return Head([line.encode("latin-1") + b"\r\n" for line in lines])


def test_status_and_headers_are_read_whatever_their_case():
    got = head(
        "HTTP/1.1 200 OK", "CONTENT-Type:  image/jpeg ", "X-Robots-Tag: a", "x-robots-tag: b"
    )
    assert (got.status, got.first("content-type")) == (200, "image/jpeg")
    assert got.all("x-robots-tag") == ["a", "b"]
    assert (got.first("location"), got.all("location")) == ("", [])


def test_the_last_answer_counts():
    got = head("HTTP/1.1 103 Early Hints", "Location: /a", "", "HTTP/2 404 ", "Content-Type: b")
    assert (got.status, got.first("location"), got.first("content-type")) == (404, "", "b")


@pytest.mark.parametrize("lines", [[], ["HTTP/1.1"], ["HTTP/1.1 abc"], ["HTTP/1.1 100 Continue"]])
def test_what_is_no_status_is_zero(lines):
    assert head(*lines).status == 0


@pytest.mark.parametrize(("text", "length"), [("12", 12), ("-1", 0), ("x", 0), ("9" * 30, 0)])
def test_a_length_is_a_number(text, length):
    assert head("HTTP/1.1 200", f"Content-Length: {text}").content_length() == length


def test_text_that_is_no_utf8_is_read_all_the_same():
    assert head("HTTP/1.1 302", "Location: /\xfc").first("location") == "/ü"


def test_a_pause_is_given_in_seconds_or_as_a_date():
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    by_date = head(
        "HTTP/1.1 429", f"Retry-After: {email.utils.format_datetime(later, usegmt=True)}"
    )
    assert 0 < by_date.retry_after_s() <= 101
    assert head("HTTP/1.1 429", "Retry-After: 7").retry_after_s() == 7
    past = head("HTTP/1.1 429", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT")
    assert past.retry_after_s() == 0
    for text in ("", "soon", "-5", "1e9", "9" * 20, "Wed, 99 Oct 2015 07:28:00 GMT"):
        assert head("HTTP/1.1 429", f"Retry-After: {text}").retry_after_s() is None
