import io
import tarfile

import pytest

from hpcpipe.formats.tar import Member
from hpcpipe.formats.tar_write import end_of_archive, make_header, padding


def replaced(*, mtime=1_700_000_000, gnu=False):
    return Member("old.jpg", 0, 512, 1, 1024, b"0", 0o444, mtime, gnu)


@pytest.mark.parametrize("gnu", [False, True])
@pytest.mark.parametrize(
    "name", ["a.jpg", "ü.jpg", "n" * 100, "n" * 101, "d/" * 90 + "b\udcff.jpg"]
)
@pytest.mark.parametrize("mtime", [0, 1_700_000_000, -5, 1 << 40])
@pytest.mark.parametrize("size", [0, 700, 9 << 30])
def test_tarfile_reads_the_header(gnu, name, mtime, size):
    header = make_header(replaced(mtime=mtime, gnu=gnu), name, size)
    assert len(header) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(header + bytes(1024)), encoding="utf-8") as tar:
        member = tar.next()
    assert (member.name, member.size, member.mtime, member.mode) == (name, size, mtime, 0o444)
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
    assert member.isreg()


def test_a_plain_header_is_what_tarfile_writes():
    info = tarfile.TarInfo("a.jpg")
    info.size, info.mtime, info.mode = 700, 1_700_000_000, 0o444
    ours = make_header(replaced(), "a.jpg", 700)
    theirs = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    assert ours == bytes(theirs)
    assert make_header(replaced(gnu=True), "a.jpg", 700) == info.tobuf(tarfile.GNU_FORMAT)


def test_long_names_keep_the_format_of_the_member_replaced():
    assert make_header(replaced(gnu=True), "n" * 101, 1)[156:157] == b"L"
    assert make_header(replaced(), "n" * 101, 1)[156:157] == b"x"


@pytest.mark.parametrize("num_members", [0, 1, 8, 9, 10, 19, 20, 21])
def test_the_end_is_what_tarfile_writes(num_members):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(num_members):
            info = tarfile.TarInfo(str(index))
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    content = num_members * 1024
    assert content + len(end_of_archive(content)) == len(raw.getvalue())


def test_padding_fills_the_last_block():
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
