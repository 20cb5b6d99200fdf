import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_expander

from hpcpipe.errors import BadInputError
from hpcpipe.formats.samples import _SeenKeys, group, split_key
from hpcpipe.formats.tar import Member
from tests.stages.tars import write_tar


def member(name, type_=b"0", start=0):
    return Member(name, start, 0, 0, 0, type_, 0o644, 0, False)


def webdataset_split(name):
    """What webdataset's tar_file_iterator and group_by_keys make of a name."""
    if "/" not in name and name.startswith("__") and name.endswith("__"):
        return None
    if re.match(r"__[^/]*__($|/)", name):
        return None
    key, extension = base_plus_ext(name)
    return None if key is None else (key, extension)


@given(st.text(st.sampled_from(list("ab./_-\n ü\x1c\u2028")), max_size=12))
@example("dir.v2/a.b.jpg")
@example("dir/.hidden.jpg")
@example("__meta__")
@example("__dir__/a.jpg")
@example("a.jpg\n")
@example("noextension")
@example("a.")
def test_names_split_as_webdataset_splits_them(name):
    assert split_key(name) == webdataset_split(name)


def names(samples):
    return [(s.key, [m.name for m in s.members], s.extensions, s.repeats) for s in samples]


def test_neighbours_with_a_key_are_a_sample():
    entries = [member("a/1.JPG"), member("a/1.seg.png"), member("b/1.jpg")]
    assert names(group(entries, "x.tar", "error")) == [
        ("a/1", ["a/1.JPG", "a/1.seg.png"], ["jpg", "seg.png"], False),
        ("b/1", ["b/1.jpg"], ["jpg"], False),
    ]


def test_entries_of_no_sample_come_with_the_sample_in_front():
    entries = [
        member("d", b"5"),
        member("1.jpg"),
        member("1.link", b"2"),
        member("1.txt"),
        member("README"),
        member("2.jpg"),
    ]
    assert names(group(entries, "x.tar", "error")) == [
        (None, ["d"], [None], False),
        ("1", ["1.jpg", "1.link", "1.txt", "README"], ["jpg", None, "txt", None], False),
        ("2", ["2.jpg"], ["jpg"], False),
    ]


SPLIT = [member(n, start=512 * i) for i, n in enumerate(["a.jpg", "b.jpg", "a.txt", "a.jpg"])]
TWICE = [member(n, start=512 * i) for i, n in enumerate(["a.jpg", "a.JPG", "a.txt"])]


def test_equal_keys_are_refused_with_the_ways_out():
    with pytest.raises(BadInputError) as caught:
        list(group(SPLIT, "/d/x.tar", "error"))
    assert "/d/x.tar: the key 'a' comes again at byte 1024 after other samples" in str(caught.value)
    assert "stage.duplicates=first" in str(caught.value)
    with pytest.raises(BadInputError, match=r"'a.JPG' at byte 512 is in its sample twice"):
        list(group(TWICE, "x.tar", "error"))


def test_first_marks_what_repeats():
    assert names(group(SPLIT, "x.tar", "first")) == [
        ("a", ["a.jpg"], ["jpg"], False),
        ("b", ["b.jpg"], ["jpg"], False),
        ("a", ["a.txt", "a.jpg"], ["txt", "jpg"], True),
    ]
    assert names(group(TWICE, "x.tar", "first")) == [
        ("a", ["a.JPG"], ["jpg"], True),
        ("a", ["a.jpg", "a.txt"], ["jpg", "txt"], False),
    ]


def test_rename_makes_new_keys_that_are_free():
    entries = [*SPLIT, member("a-2.jpg"), member("b.jpg"), member("a.x.jpg")]
    samples = list(group(entries, "x.tar", "rename"))
    assert [s.key for s in samples] == ["a", "b", "a-2", "a-2-2", "b-2", "a-3"]
    assert [s.renamed_from for s in samples] == [None, None, "a", "a-2", "b", "a"]
    assert [s.name_of(s.members[-1]) for s in samples] == [
        "a.jpg",
        "b.jpg",
        "a-2.jpg",
        "a-2-2.jpg",
        "b-2.jpg",
        "a-3.x.jpg",
    ]
    assert [s.key for s in group(TWICE, "x.tar", "rename")] == ["a", "a-2"]


def test_many_keys_are_remembered():
    seen = _SeenKeys()
    assert [seen.add(str(i)) for i in range(5000)] == [False] * 5000
    assert [seen.add(str(i)) for i in range(5020)] == [True] * 5000 + [False] * 20


def test_groups_as_webdataset_does(tmp_path):
    entries = ["x/a.b.jpg", "x/a.JSON", "__meta__", "x.y/a.txt", "z.txt", "z.cls", "noext", "z.w.q"]
    path = write_tar(tmp_path / "a.tar", [(name, name.encode()) for name in entries])
    with open(path, "rb") as stream:
        files = tar_file_expander([{"url": "a.tar", "stream": stream}])
        expected = [
            (sample["__key__"], [name for name in sample if name[0] != "_"])
            for sample in group_by_keys(files)
        ]
    ours = group([member(name) for name in entries], "a.tar", "error")
    assert [(s.key, [e for e in s.extensions if e]) for s in ours] == expected
