import pytest

from hpcpipe.formats.digests import digest, matches

KNOWN = {
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
}


@pytest.mark.parametrize("kind", KNOWN)
def test_known_checksums(kind):
    assert digest(b"abc", kind) == KNOWN[kind]
    assert len(digest(b"abc", "sha512")) == 128


@pytest.mark.parametrize("kind", KNOWN)
def test_a_listed_checksum_may_be_text_in_any_case_or_bytes(kind):
    known = KNOWN[kind]
    for listed in (known, known.upper(), f" {known}\n", bytes.fromhex(known), known.encode()):
        assert matches(known, listed)


@pytest.mark.parametrize("listed", [None, "", b"", "0" * 64, 12, float("nan"), KNOWN["md5"][:-1]])
def test_anything_else_does_not_match(listed):
    assert not matches(KNOWN["md5"], listed)
