"""FairCLIP's files of captions, and lines of selected samples."""

import json

import pytest

from hpcpipe.errors import BadInputError
from hpcpipe.formats.captions import decode_captions, encode_captions
from hpcpipe.formats.selected import Face, Selected, decode_selected, encode_selected


def test_a_file_is_what_the_original_writes():
    content = encode_captions({"a-0": "two\nlines", "b-1": "né \U0001f600"})
    assert content == (
        b'{\n    "a-0.json": "two lines",\n    "b-1.json": "n\\u00e9 \\ud83d\\ude00"\n}'
    )
    assert content == json.dumps(json.loads(content), indent=4).encode()
    assert decode_captions(content, "x") == {"a-0": "two lines", "b-1": "né \U0001f600"}


def test_no_samples_are_an_empty_object():
    assert encode_captions({}) == b"{}"
    assert decode_captions(b"{}", "x") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "expected an object of captions by name, found list"),
        (b'{"a.json": 3}', r"the caption of 'a\.json' is int, not text"),
        (b'{"a.json": "x"', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_anything_else_is_refused(content, message):
    with pytest.raises(BadInputError, match=rf"^shard\.json: {message}"):
        decode_captions(content, "shard.json")


SELECTED = Selected(
    key="a-0",
    caption="two\nlines",
    json={"uid": "a", "nan": float("inf"), "text": "\u2028 \ud800"},
    faces=(Face(box=(0.25, 0.0, 0.5, 1.0), score=None), Face(box=(0, 0, 1, 1), score=0.75)),
    tar="s3://bucket/00000000.tar",
    image="webp",
    offset_bytes=512,
    size_bytes=1024,
)


def test_selected_samples_come_back_as_they_were():
    lines = encode_selected(SELECTED) + encode_selected(SELECTED)
    assert lines.count(b"\n") == 2
    assert list(decode_selected(lines, "x")) == [SELECTED, SELECTED]


@pytest.mark.parametrize("line", [b"3", b"{}", b'{"faces": []}', b'{"faces": [], "hack": 1}', b"{"])
def test_other_lines_are_refused(line):
    with pytest.raises(BadInputError, match=r"x\.jsonl: line 2 is no selected sample"):
        list(decode_selected(encode_selected(SELECTED) + line, "x.jsonl"))
