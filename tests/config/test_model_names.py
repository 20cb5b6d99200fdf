import pytest

from hpcpipe.config import resolve
from hpcpipe.stage import ModelName


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", "org/name"),
        ("gpt2", "gpt2"),
        ("./name", "/here/name"),
        ("../name/", "/name"),
        ("~/models/name", "/home/someone/models/name"),
        ("/data/name", "/data/name"),
        (".", "/here"),
        (".hidden/name", ".hidden/name"),
    ],
)
def test_only_what_begins_like_a_path_is_one(monkeypatch, text, expected):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setattr("os.getcwd", lambda: "/here")
    assert resolve.absolute(text, ModelName) == expected
    assert resolve.absolute({"a": text}, dict[str, ModelName] | None) == {"a": expected}
