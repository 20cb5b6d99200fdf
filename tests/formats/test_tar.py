import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcpipe.errors import BadInputError
from hpcpipe.formats.source import open_source
from hpcpipe.formats.tar import scan
from hpcpipe.formats.tar_fields import checksum

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
LONG = "folder-" * 12 + "/" + "name-" * 15
TYPES = {tarfile.AREGTYPE: b"0", tarfile.CONTTYPE: b"0"}


def tar_bytes(members, fmt=tarfile.PAX_FORMAT, **options):
    """A tar of (name, content, TarInfo attributes)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=fmt, **options) as tar:
        for name, content, *attributes in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in (attributes[0] if attributes else {}).items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def scan_bytes(data, tmp_path, name="a.tar"):
    path = tmp_path / name
    path.write_bytes(data)
    with open_source(str(path), tmp_path) as source:
        return list(scan(source, prefetch=True))


def says(data, tmp_path, name="a.tar"):
    with pytest.raises(BadInputError) as caught:
        scan_bytes(data, tmp_path, name)
    message = str(caught.value)
    assert str(tmp_path / name) in message
    return message


def by_tarfile(data):
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as tar:
        members = tar.getmembers()
    return [
        (m.name, m.offset, m.offset_data, m.size, TYPES.get(m.type, m.type), m.mode, m.mtime // 1)
        for m in members
    ]


def by_scan(members):
    return [(m.name, m.start, m.data, m.size, m.type, m.mode, m.mtime) for m in members]


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=120
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 250)


@pytest.mark.parametrize("fmt", FORMATS[1:])
@given(
    members=st.lists(
        st.tuples(
            NAMES,
            st.binary(max_size=1500),
            st.fixed_dictionaries(
                {
                    "mtime": st.integers(0, 2**35) | st.floats(0, 2e9).map(lambda x: round(x, 3)),
                    "mode": st.integers(0, 0o7777),
                    "uname": st.sampled_from(["", "someone", "ü" * 20]),
                    "uid": st.sampled_from([0, 1000, 2**22]),
                }
            ),
        ),
        max_size=8,
    )
)
def test_reads_what_tarfile_reads(fmt, members, tmp_path_factory):
    if fmt == tarfile.GNU_FORMAT:
        for _, _, attributes in members:
            attributes["mtime"] = int(attributes["mtime"])
    data = tar_bytes(members, fmt, encoding="utf-8")
    tmp_path = tmp_path_factory.mktemp("tar")
    assert by_scan(scan_bytes(data, tmp_path)) == by_tarfile(data)


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_kind_of_entry_is_told_apart(fmt, tmp_path):
    link = {"type": tarfile.SYMTYPE, "linkname": "target"}
    data = tar_bytes(
        [
            ("dir/", b"", {"type": tarfile.DIRTYPE}),
            (LONG + ".jpg", b"x" * 513),
            ("link.jpg", b"", link),
            ("hard.jpg", b"", link | {"type": tarfile.LNKTYPE, "linkname": LONG[:90]}),
            ("pipe", b"", {"type": tarfile.FIFOTYPE}),
            ("device", b"", {"type": tarfile.CHRTYPE}),
            ("zero.txt", b""),
            ("old.txt", b"old", {"type": tarfile.AREGTYPE}),
            ("cont.txt", b"cont", {"type": tarfile.CONTTYPE}),
        ],
        fmt,
    )
    members = scan_bytes(data, tmp_path)
    assert [m.name for m in members if m.is_file] == [
        LONG + ".jpg",
        "zero.txt",
        "old.txt",
        "cont.txt",
    ]
    expected = by_tarfile(data)
    assert by_scan(members) == expected
    assert [m.end for m in members[:-1]] == [m.start for m in members[1:]]
    assert {m.gnu for m in members} == {fmt == tarfile.GNU_FORMAT}


def test_long_link_names_and_base_256_numbers_of_gnu(tmp_path):
    data = tar_bytes(
        [
            ("link", b"", {"type": tarfile.SYMTYPE, "linkname": "t" * 150}),
            ("a" * 150, b"abc", {"mtime": -5, "uid": 2**40}),
        ],
        tarfile.GNU_FORMAT,
    )
    link, file = scan_bytes(data, tmp_path)
    assert (link.start, file.start) == (0, link.end)
    assert (file.name, file.mtime) == ("a" * 150, -5)


def test_a_size_of_more_than_8_gib_is_read_from_a_sparse_file_on_disk(tmp_path):
    for fmt in FORMATS[1:]:
        info = tarfile.TarInfo("big.bin")
        info.size = 9 << 30
        header = info.tobuf(fmt)
        path = tmp_path / "big.tar"
        with open(path, "wb") as file:
            file.write(header)
            file.truncate(len(header) + info.size + 1024)
        with open_source(str(path)) as source:
            (member,) = scan(source)
        assert (member.size, member.data) == (9 << 30, len(header))


def test_pax_times_are_cut_downwards(tmp_path):
    times = [1700000000.75, -1.5, -2, 5]
    data = tar_bytes([(f"{i}", b"", {"mtime": t}) for i, t in enumerate(times)])
    assert [m.mtime for m in scan_bytes(data, tmp_path)] == [1700000000, -2, -2, 5]


def test_a_global_header_is_an_entry_and_gives_its_time_to_all(tmp_path):
    data = tar_bytes([("a", b"1")], pax_headers={"comment": "c", "mtime": "77.5"})
    header, member = scan_bytes(data, tmp_path)
    assert (header.type, header.start, member.start) == (b"g", 0, header.end)
    assert member.mtime == 77


def test_names_that_are_no_utf8_survive(tmp_path):
    for fmt in FORMATS:
        data = tar_bytes([("a\udcff.jpg", b"1")], fmt, encoding="utf-8", errors="surrogateescape")
        assert [m.name for m in scan_bytes(data, tmp_path)] == ["a\udcff.jpg"]


@pytest.mark.parametrize("fmt", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_reads_what_gnu_tar_writes(fmt, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for index in range(20):
        (source / f"{index:03d}.txt").write_bytes(b"x" * index * 97)
    path = tmp_path / "a.tar"
    subprocess.run(["tar", "-cf", path, f"--format={fmt}", "-C", source, "."], check=True)
    expected = by_tarfile(path.read_bytes())
    with open_source(str(path)) as opened:
        assert by_scan(scan(opened)) == expected
    assert len(expected) == 21


def test_headers_are_the_same_whatever_the_window(tmp_path, monkeypatch):
    data = tar_bytes([(f"{i:04d}{'n' * (i % 200)}", b"x" * (i * 37)) for i in range(200)])
    expected = by_tarfile(data)
    for window_bytes in (512, 700, 1 << 20):
        monkeypatch.setattr("hpcpipe.formats.tar_blocks.WINDOW_BYTES", window_bytes)
        assert by_scan(scan_bytes(data, tmp_path)) == expected


def test_an_empty_tar_has_no_members_and_an_empty_file_is_no_tar(tmp_path):
    assert scan_bytes(bytes(10240), tmp_path) == []
    assert scan_bytes(bytes(512), tmp_path) == []
    assert "is empty (0 bytes)" in says(b"", tmp_path)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"hello" * 300, "no tar header at byte 0"),
        (b"\x1f\x8b" + b"z" * 2000, "name it .tar.gz"),
        (b"PK\x03\x04" + b"z" * 2000, "it is a zip file"),
        (b"\n<!DOCTYPE html>" + b"z" * 2000, "it looks like a web page"),
        (b"\x28\xb5\x2f\xfd" + b"z" * 2000, "it is compressed"),
        (b"short", "no tar header at byte 0"),
    ],
)
def test_what_is_no_tar_is_named(data, hint, tmp_path):
    message = says(data, tmp_path)
    assert "is not a tar file" in message
    assert hint in message


def test_a_truncated_tar_is_named_with_the_byte(tmp_path):
    data = tar_bytes([("a.jpg", b"x" * 2000), ("b.jpg", b"y" * 2000)], tarfile.USTAR_FORMAT)
    second = 512 + 2048
    cut = {
        second + 512 + 1999: f"member 'b.jpg' at byte {second} ends at byte {second + 2560}",
        second + 512 + 2000: f"member 'b.jpg' at byte {second} ends at byte {second + 2560}",
        second + 100: f"a header begins at byte {second}",
        second: "append it with: truncate -s +1024",
        1000: "member 'a.jpg' at byte 0 ends at byte 2560",
    }
    for size, expected in cut.items():
        message = says(data[:size], tmp_path)
        assert f"is truncated: it has {size} bytes" in message
        assert expected in message


def test_a_truncated_extension_header_is_named(tmp_path):
    data = tar_bytes([("n" * 200, b"x")])
    assert "the extension header at byte 0 ends at byte 1024" in says(data[:600], tmp_path)
    assert "no end-of-archive block" in says(data[:1024], tmp_path)
    alone = data[:1024] + bytes(1024)
    assert "the extension header at byte 0 has no member after it" in says(alone, tmp_path)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def test_a_corrupt_header_is_named_with_its_byte(tmp_path):
    data = tar_bytes([(f"{i}.jpg", b"x" * 600) for i in range(9)], tarfile.USTAR_FORMAT)
    offset = 4 * (512 + 1024)
    for at in (0, 110, 130, 140, 150, 156, 260, 400, 511):
        assert f"is corrupt: no valid tar header at byte {offset}" in says(
            flipped(data, offset + at), tmp_path
        )


def test_a_corrupt_extension_header_is_named(tmp_path):
    data = tar_bytes([("n" * 200, b"x")])
    assert "the extension header at byte 0 is corrupt" in says(flipped(data, 513), tmp_path)
    huge = tarfile.TarInfo("long")
    huge.type, huge.size = b"L", 1 << 30
    assert "the extension header at byte 0 is corrupt" in says(huge.tobuf() + data, tmp_path)


def test_data_behind_the_end_is_not_dropped_silently(tmp_path):
    data = tar_bytes([("a.jpg", b"x")])
    assert "behind the end-of-archive block at byte 1024" in says(data + data, tmp_path)
    hole = bytes(512) + data[512:]
    assert "behind the end-of-archive block at byte 0" in says(hole, tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.jpg", "a/../../b.jpg", "a/.."])
def test_unsafe_names_are_refused(name, tmp_path):
    data = tar_bytes([("ok.jpg", b"1"), (name, b"2")])
    message = says(data, tmp_path)
    assert f"the member at byte 1024 has the unsafe name {name!r}" in message


@pytest.mark.parametrize("name", ["a..b.jpg", "..a.jpg", "a/..b/c.jpg", "./a.jpg"])
def test_names_that_only_look_unsafe_pass(name, tmp_path):
    assert [m.name for m in scan_bytes(tar_bytes([(name, b"2")]), tmp_path)] == [name]


def test_sparse_files_are_refused(tmp_path):
    hole = tmp_path / "hole.bin"
    with open(hole, "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 20)
        file.write(b"end")
    for fmt in ("gnu", "posix"):
        path = tmp_path / f"{fmt}.tar"
        subprocess.run(
            ["tar", "-cSf", path, f"--format={fmt}", hole.name], check=True, cwd=tmp_path
        )
        assert "sparse file, which is not supported" in says(
            path.read_bytes(), tmp_path, f"{fmt}-copy.tar"
        )


def test_a_path_for_all_members_is_refused(tmp_path):
    data = tar_bytes([("a", b"1")], pax_headers={"path": "all"})
    assert "a path or size for all members, which is not supported" in says(data, tmp_path)


def test_old_signed_checksums_are_taken(tmp_path):
    block = bytearray(tar_bytes([("ü.txt", b"")], tarfile.USTAR_FORMAT, encoding="latin-1")[:512])
    signed = checksum(bytes(block)) - 256 * sum(byte > 127 for byte in block)
    block[148:156] = b"%06o\0 " % signed
    assert [m.name for m in scan_bytes(bytes(block) + bytes(1024), tmp_path)] == ["\udcfc.txt"]
