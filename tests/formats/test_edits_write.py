"""Edits that are written, as others read them."""

import tarfile

import pytest

from hpcpipe.formats.edit_origins import open_origin
from hpcpipe.formats.edits import Edits
from hpcpipe.formats.edits_write import EDITS_WRITERS, is_plain_key
from hpcpipe.runtime.outputs import OutputFolder

FILES = {"jpg": b"\xff\xd8" * 300, "txt": "a nurse, ممرض".encode(), "json": b"{}"}


def write(folder, edits_format, samples):
    opened = []
    outputs = OutputFolder(str(folder), "xxh3_128")

    def open_output(name):
        opened.append(outputs.stage(name, 1, folder))
        return opened[-1]

    writer = EDITS_WRITERS[edits_format](open_output, "a/0")
    for key, files in samples.items():
        writer.add(key, files)
    writer.finish(len(samples))
    outputs.publish(opened, lambda: None)
    return opened


def test_a_tar_of_edits_is_read_by_tarfile_and_by_reshard(tmp_path):
    (output,) = write(tmp_path, "tar", {"k-0": FILES, "x/k-1": FILES})
    assert output.num_samples == 2
    with tarfile.open(tmp_path / "a/0.tar") as tar:
        found = [(member.name, tar.extractfile(member).read()) for member in tar]
    assert found == [(f"{k}.{e}", c) for k in ("k-0", "x/k-1") for e, c in FILES.items()]
    with Edits(open_origin(str(tmp_path / "a/0.tar"), None)) as edits:
        assert [sorted(one) for one in edits.find(["k-0", "x/k-1"])] == [sorted(FILES)] * 2


def test_loose_edits_are_read_by_reshard(tmp_path):
    write(tmp_path, "files", {"k-0": FILES})
    with Edits(open_origin(str(tmp_path / "a/0"), None)) as edits:
        (found,) = edits.find(["k-0"])
        assert {name: edits.read(edit) for name, edit in found.items()} == FILES


@pytest.mark.parametrize(("edits_format", "where"), [("tar", "a/0.tar"), ("files", "a/0")])
def test_samples_of_tars_made_of_a_folder_have_edits(tmp_path, edits_format, where):
    write(tmp_path, edits_format, {"./k-0": FILES})
    with Edits(open_origin(str(tmp_path / where), None)) as edits:
        assert [sorted(one) for one in edits.find(["./k-0"])] == [sorted(FILES)]


def test_a_shard_without_edits_has_an_empty_tar_all_the_same(tmp_path):
    write(tmp_path, "tar", {})
    with tarfile.open(tmp_path / "a/0.tar") as tar:
        assert tar.getmembers() == []


@pytest.mark.parametrize("key", ["0a1b-0", "a/b/0001", "./0001", "شخص 🙂", "a b"])
def test_keys_that_can_be_names(key):
    assert is_plain_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "../x",
        "/etc/x",
        "a/../b",
        "./../x",
        "././x",
        "a//b",
        ".x",
        "a/",
        "a.b",
        "a\nb",
        "\ud800",
        "x" * 201,
    ],
)
def test_keys_that_cannot(key):
    assert not is_plain_key(key)
