import io
import tarfile
import wave
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from hpcpipe.formats.file_extensions import UNKNOWN, extension_of, is_web_page
from hpcpipe.formats.file_magic import kind_of

PAGE = b"<!DOCTYPE html><html><body>Not here</body></html>"


def image(kind):
    raw = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(raw, kind)
    return raw.getvalue()


@pytest.mark.parametrize(
    ("kind", "extension"),
    [
        ("jpeg", "jpg"),
        ("png", "png"),
        ("gif", "gif"),
        ("webp", "webp"),
        ("bmp", "bmp"),
        ("tiff", "tiff"),
        ("ico", "ico"),
        ("avif", "avif"),
        ("jpeg2000", "jp2"),
        ("pdf", "pdf"),
    ],
)
def test_real_files_are_known_by_their_bytes(kind, extension):
    assert kind_of(image(kind)) == extension


def test_real_photos_are_known_by_their_bytes():
    photos = sorted((Path(__file__).parents[1] / "data" / "photos").glob("*.jpg"))
    assert photos
    assert {kind_of(photo.read_bytes()) for photo in photos} == {"jpg"}


def test_real_archives_and_sounds_are_known_by_their_bytes():
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("a", b"x")
    assert kind_of(raw.getvalue()) == "zip"
    for mode, kind in (("w", "tar"), ("w:gz", "gz"), ("w:bz2", "bz2"), ("w:xz", "xz")):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode=mode) as tar:
            tar.addfile(tarfile.TarInfo("a"))
        assert kind_of(raw.getvalue()) == kind
    raw = io.BytesIO()
    with wave.open(raw, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(10))
    assert kind_of(raw.getvalue()) == "wav"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"fLaC\0\0\0\x22", "flac"),
        (b"ID3\4\0", "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"OggS\0\2" + bytes(22) + b"OpusHead", "opus"),
        (b"OggS\0\2" + bytes(22) + b"\1vorbis", "ogg"),
        (b"\0\0\0\x20ftypisom", "mp4"),
        (b"\0\0\0\x14ftypqt  ", "mov"),
        (b"\0\0\0\x20ftypM4A ", "m4a"),
        (b"\0\0\0\x18ftypheic", "heic"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "mkv"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"\xef\xbb\xbf\n <html lang=en>", "html"),
        (b'<?xml version="1.0"?>\n<!-- x --><svg xmlns="">', "svg"),
        (b"<svg>", "svg"),
        (b"<note>", None),
        (b"<htmlish>", None),
        (b"BM and other words", None),
        (b"\xff\xfeU\0T\0F\0", None),
        (b"", None),
    ],
)
def test_beginnings(head, kind):
    assert kind_of(head) == kind


def test_the_content_type_comes_first_then_the_bytes_then_the_url():
    png = image("png")
    assert extension_of("image/jpeg", png, "http://h/a.gif") == "jpg"
    assert extension_of(None, png, "http://h/a.gif") == "png"
    assert extension_of(None, b"?", "http://h/a.gif") == "gif"
    assert extension_of(None, b"?", "http://h/a") == UNKNOWN


@pytest.mark.parametrize(
    "content_type",
    [
        "application/octet-stream",
        "binary/octet-stream",
        "text/plain; charset=utf-8",
        "text/html",
        "image/*",
        "application/x-unheard-of",
        "",
        ";;",
    ],
)
def test_types_that_say_nothing_are_passed_over(content_type):
    assert extension_of(content_type, image("webp"), "http://h/a.jpg") == "webp"
    assert extension_of(content_type, b"?", "http://h/a.flac") == "flac"


def test_what_servers_say_of_anything_counts_last():
    assert extension_of("text/plain", b"words", "http://h/a") == "txt"
    assert extension_of("text/html", b"words", "http://h/a.php") == "html"


@pytest.mark.parametrize("content_type", ["audio/flac", "audio/x-flac", " Audio/FLAC ;q=1"])
def test_flac_is_flac(content_type):
    assert extension_of(content_type, b"", "http://h/a.mp3") == "flac"


@pytest.mark.parametrize(
    ("url", "extension"),
    [
        ("http://h/a.JPEG?x=1.png#b.gif", "jpg"),
        ("http://h/a.jpg:large", "jpg"),
        ("http://h/a.jpg;jsessionid=1.2", "jpg"),
        ("http://h/a%2Ejpg", "jpg"),
        ("http://h/a.b/c", UNKNOWN),
        ("http://h.jpg", UNKNOWN),
        ("http://h/v1.0", UNKNOWN),
        ("http://h/.jpg", UNKNOWN),
        ("http://h/a.", UNKNOWN),
        ("http://h/a.verylongone", UNKNOWN),
        ("http://h/show.php?a.jpg", UNKNOWN),
        ("http://h/a.7z", "7z"),
        ("http://h/a.tar.gz", "tar.gz"),
        ("http://h/a.tgz", "tar.gz"),
        ("http://h/a.nii.gz", "nii.gz"),
        ("http://h/2024.07.gz", "gz"),
        ("http://h/tar.gz", "gz"),
        ("http://h/a.b.jpg", "jpg"),
        ("http://[bad/a.jpg", UNKNOWN),
        ("http://h/a.j%00pg", UNKNOWN),
        ("http://h/x.%2e%2e%2fetc%2fpasswd", UNKNOWN),
    ],
)
def test_urls(url, extension):
    assert extension_of(None, b"?", url) == extension


@pytest.mark.parametrize("content_type", ["application/gzip", "application/x-gzip", None])
def test_a_compressed_file_keeps_what_its_url_says_is_in_it(content_type):
    gz = b"\x1f\x8b\x08\0"
    assert extension_of(content_type, gz, "http://h/a.tar.gz") == "tar.gz"
    assert extension_of(content_type, gz, "http://h/a.tgz?x") == "tar.gz"
    assert extension_of(content_type, gz, "http://h/a.jpg") == "gz"


@settings(deadline=None)
@given(st.none() | st.text(max_size=40), st.binary(max_size=40), st.text(max_size=60))
@example("image/../../x", b"", "http://h/a.../..")
@example(None, b"", "http://h/a.tar.gz/../b.\u212aj")
def test_whatever_comes_the_extension_is_safe_in_a_name(content_type, content, url):
    parts = extension_of(content_type, content, url).split(".")
    assert len(parts) <= 2
    assert all(1 <= len(part) <= 8 and part.isascii() and part.isalnum() for part in parts)
    assert all(part == part.lower() for part in parts)


def test_a_page_in_place_of_a_file_is_told_apart():
    assert is_web_page("image/jpeg", PAGE)
    assert is_web_page("text/html; charset=utf-8", b"Forbidden")
    assert is_web_page(None, b"\r\n<!-- blocked -->\n<HTML>")
    assert not is_web_page("text/html", image("jpeg"))
    assert not is_web_page("image/svg+xml", b"<svg></svg>")
    assert not is_web_page("text/plain", b"words")
