import pytest

from hpcpipe.clients.opt_out import forbidding_directive, is_reserved

ALL = frozenset({"noai", "noimageai", "noindex", "noimageindex"})


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (["noai"], "noai"),
        (["noai, max-image-preview:large"], "noai"),
        (["max-image-preview: large, NoImageAI"], "noimageai"),
        (["nofollow", "noindex"], "noindex"),
        (["none"], "none"),
        (["hpcpipe: noindex"], "noindex"),
        (["HpcPipe: nofollow, noai"], "noai"),
        (["*: noai"], "noai"),
        (["otherbot: noindex, hpcpipe: noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noindex"], "noindex"),
        (["unavailable_after: Friday, 25-Jun-10 15:00:00 PST, noindex"], "noindex"),
        (["otherbot: unavailable_after: Fri, 25 Jun 10 15:00:00, hpcpipe: noai"], "noai"),
        ([" noai "], "noai"),
    ],
)
def test_what_forbids_is_found(values, word):
    assert forbidding_directive(values, "hpcpipe", ALL) == word


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["all"],
        ["index, follow"],
        ["nofollow, noarchive"],
        ["googlebot: noindex"],
        ["otherbot: nofollow, noindex"],
        ["hpcpipe: nofollow, otherbot: noai"],
        ["otherbot: unavailable_after: Friday, 25-Jun-10 15:00:00 PST, noindex"],
        ["max-snippet:0, max-video-preview:-1"],
        ["notnoai"],
    ],
)
def test_what_does_not_forbid_is_let_through(values):
    assert forbidding_directive(values, "hpcpipe", ALL) is None


def test_each_header_speaks_to_all_again():
    assert forbidding_directive(["otherbot: noindex", "noai"], "hpcpipe", ALL) == "noai"


def test_only_the_directives_asked_for_count():
    assert forbidding_directive(["noindex, none"], "hpcpipe", frozenset({"noai"})) is None


def test_a_reservation_is_a_one():
    assert is_reserved(["1"])
    assert is_reserved(["0", " 1 "])
    assert not is_reserved(["0"])
    assert not is_reserved(["", "yes"])
