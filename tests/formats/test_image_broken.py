"""Files that are no images, end early, lie, or would take all memory."""

import struct
import tracemalloc
import zlib

import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_header import read_header
from tests.formats.images import drawing, photo, resize, saved


def failure_of(content: bytes, **changes) -> ImageFailure:
    with pytest.raises(ImageError) as caught:
        resize(content, **changes)
    return caught.value.failure


def png_chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def png_bomb(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def jpeg_of(width: int, height: int) -> bytes:
    """A small photo that says it is of another size."""
    content = bytearray(saved(drawing(16, 16), "jpeg"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(16, 16), "webp", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"))
    assert content[12:16] == b"VP8X"
    content[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(content)


def gif_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(16, 16), "gif"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(16, 16), "bmp"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def tiff_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(16, 16), "tiff"))
    for tag, side in ((256, width), (257, height)):
        entry = content.index(struct.pack("<HHIH", tag, 4, 1, 16))
        content[entry + 8 : entry + 12] = struct.pack("<I", side)
    return bytes(content)


def avif_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(16, 16), "avif"))
    sides = content.index(b"ispe") + 8
    content[sides : sides + 8] = struct.pack(">II", width, height)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        png_bomb(60_000, 60_000),
        jpeg_of(65_000, 65_000),
        webp_of(16_000, 16_000),
        gif_of(65_535, 65_535),
        bmp_of(50_000, 50_000),
        tiff_of(50_000, 50_000),
        avif_of(15_000, 15_000),
    ],
    ids=["png", "jpeg", "webp", "gif", "bmp", "tiff", "avif"],
)
def test_bombs_are_refused_by_their_header(content):
    tracemalloc.start()
    assert failure_of(content) is ImageFailure.AREA
    assert failure_of(content, disable_all_reencoding=True) is ImageFailure.AREA
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"hello",
        bytes(5_000),
        b"RIFF\0\0\0\0WEBP",
        b"BM",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"II*\0",
        b"\0\0\0\x1cftypavif",
        b"\0\0\0\x1cftypavif" * 99,
    ],
)
def test_garbage_is_told_as_such(content):
    for changes in ({}, {"disable_all_reencoding": True}):
        with pytest.raises(ImageError):
            resize(content, **changes)


@pytest.mark.parametrize(
    ("content", "failure", "text"),
    [
        (b"<!DOCTYPE html><html>", ImageFailure.NOT_AN_IMAGE, "not an image: html"),
        (b"what is this", ImageFailure.NOT_AN_IMAGE, "not an image"),
        (b"<svg xmlns='x'/>", ImageFailure.UNSUPPORTED, "svg images are not read"),
        (b"\0\0\0\x1cftypheic", ImageFailure.UNSUPPORTED, "heic images are not read"),
    ],
)
def test_other_files_are_told_by_their_kind(content, failure, text):
    with pytest.raises(ImageError, match=f"^{text}$") as caught:
        resize(content)
    assert caught.value.failure is failure


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"])
@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_files_that_end_early(kind, part):
    content = saved(Image.effect_noise((300, 200), 60).convert("RGB"), kind)
    assert failure_of(content[: int(len(content) * part)]) in (
        ImageFailure.TRUNCATED,
        ImageFailure.BROKEN,
    )


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("image_size", [64, 512])
def test_jpegs_that_end_early_are_no_gray_images(progressive, image_size):
    content = saved(Image.effect_noise((300, 200), 60), "jpeg", progressive=progressive)
    for end in (len(content) // 2, len(content) - 200, len(content) * 9 // 10):
        assert failure_of(content[:end], image_size=image_size) is ImageFailure.TRUNCATED
        closed = content[:end] + b"\xff\xd9"
        assert failure_of(closed, image_size=image_size) is ImageFailure.TRUNCATED


def test_oddities_of_jpegs_that_lose_nothing_are_read():
    content = photo("temple")
    plain = resize(content).content
    behind_its_end = content + b"\0\r\n" * 100
    assert resize(behind_its_end).content == plain
    fill_bytes = content[:2] + b"\xff\xff\xff" + content[2:]
    assert resize(fill_bytes).content == plain
    comments = content[:2] + b"\xff\xfe\xff\xff" + bytes(65_533) + content[2:]
    assert resize(comments).content == plain


def test_endless_headers_end():
    content = photo("temple")
    many = content[:2] + b"\xff\xfe\0\2" * 1_000_000 + content[2:]
    with pytest.raises(ImageError, match="too many segments"):
        resize(many)


def test_two_sizes_in_one_jpeg():
    content = photo("temple")
    frame = content.index(b"\xff\xc0")
    length = int.from_bytes(content[frame + 2 : frame + 4]) + 2
    twice = content[:frame] + content[frame : frame + length] * 2 + content[frame + length :]
    assert failure_of(twice) is ImageFailure.BROKEN


@given(st.data())
def test_a_jpeg_has_the_size_that_its_decoder_finds(data):
    content = bytearray(saved(drawing(40, 30), "jpeg", comment=b"a comment"))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(2, 250))] = data.draw(st.integers(0, 255))
    try:
        header = read_header(bytes(content))
    except ImageError:
        return
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(bytes(content))
    except ValueError:
        return
    assert header.stored == (width, height)


@given(
    st.sampled_from(["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_damage_gives_an_image_or_an_image_error(kind, damage):
    content = bytearray(SMALL[kind])
    for place, byte in damage:
        content[int(place * len(content))] = byte
    try:
        made = resize(bytes(content), image_size=16, max_image_area=1_000_000)
    except ImageError:
        return
    assert min(made.width, made.height) == 16


SMALL = {
    kind: saved(drawing(40, 30), kind)
    for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")
}
