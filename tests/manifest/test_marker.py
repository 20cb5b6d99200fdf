import pytest

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.marker import Marker, read_marker, read_markers, write_marker

MARKER = Marker(1, "toy", "/runs/toy/a", "a", "f")


def test_the_first_to_write_it_has_the_folder(tmp_path):
    output = str(tmp_path / "out")
    assert read_marker(output, "toy") is None
    assert write_marker(output, MARKER, overwrite=False)
    assert not write_marker(output, Marker(1, "toy", "/b", "b", "g"), overwrite=False)
    assert read_marker(output, "toy") == MARKER
    assert [path.name for path in (tmp_path / "out" / ".hpcpipe").iterdir()] == ["toy.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"stage": 7}', "\xff"])
def test_damage_is_named_with_what_to_do(tmp_path, text):
    (tmp_path / ".hpcpipe").mkdir()
    (tmp_path / ".hpcpipe" / "toy.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunMismatchError, match=r"toy\.json, which .* is damaged.*adopt=true"):
        read_marker(str(tmp_path), "toy")
    with pytest.raises(RunMismatchError, match="damaged"):
        read_markers(tmp_path)
