import os

import pytest

from hpcpipe.errors import BadInputError, ConfigError, PlanError, SetupError
from hpcpipe.formats import remote
from hpcpipe.formats.listing import ids_from_paths, list_location, stat_input
from hpcpipe.stage import Input

TAR = (".tar", ".tar.gz", ".tgz")


@pytest.fixture
def folder(tmp_path):
    for name in ("10.tar", "9.tar", "09.tar", "b/1.tar", "b/c/2.tar", "x.json", ".hid.tar"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"1" * len(name))
    return tmp_path


def names(folder, items):
    return [os.path.relpath(item.path, folder) for item in items]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["09.tar", "9.tar", "10.tar"]),
        ("*", ["09.tar", "9.tar", "10.tar"]),
        ("?.tar", ["9.tar"]),
        ("[0-8]*.tar", ["09.tar", "10.tar"]),
        ("{9,10}.tar", ["9.tar", "10.tar"]),
        ("{09..10}.tar", ["09.tar", "10.tar"]),
        ("**/*.tar", ["09.tar", "9.tar", "10.tar", "b/1.tar", "b/c/2.tar"]),
        ("**", ["09.tar", "9.tar", "10.tar", "b/1.tar", "b/c/2.tar"]),
        ("b/**/2.tar", ["b/c/2.tar"]),
        ("*/*.tar", ["b/1.tar"]),
        ("x.json", ["x.json"]),
        (".h*", [".hid.tar"]),
    ],
)
def test_patterns(folder, pattern, expected):
    assert names(folder, list_location(str(folder / pattern), TAR)) == expected


def test_size_and_version_are_those_of_the_file(folder):
    (item,) = list_location(str(folder / "9.tar"))
    assert item == stat_input(item.path)
    assert (item.size_bytes, item.version) == (5, str((folder / "9.tar").stat().st_mtime_ns))


def test_several_locations_give_each_file_once(folder):
    found = list_location([str(folder / "10.tar"), str(folder), f"file://{folder}/b"], TAR)
    assert names(folder, found) == ["09.tar", "9.tar", "10.tar", "b/1.tar"]


def test_literal_name_with_glob_characters_is_taken_as_it_is(tmp_path):
    (tmp_path / "a[1]{x}.tar").touch()
    assert names(tmp_path, list_location(str(tmp_path / "a[1]{x}.tar"))) == ["a[1]{x}.tar"]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("*.tgz", "matches no file: .* has 4 files and 1 folders"),
        ("b/c/d/*.tar", "no 'd' in .*; it has 2.tar"),
        ("x.jsn", "there is no 'x.jsn' in .*; it has x.json and 4 more"),
        ("{1,9}.tar", "1 of its files do not exist, .*/1.tar for one"),
        ("{9,10.tar", "unbalanced braces"),
        ("empty", "matches nothing: .*/empty is empty"),
        ("text", r"has 2 files, none ends in .tar or .tar.gz or .tgz \(a.txt, b.txt\)"),
        ("text/*", "has 2 files, none ends in .tar"),
        ("broken", "broken/gone.tar cannot be read: No such file"),
    ],
)
def test_nothing_found_says_what_is_there(folder, pattern, says):
    (folder / "x.json").rename(folder / "x.json")
    extra = {"empty": [], "text": ["a.txt", "b.txt"], "broken": []}
    if pattern.split("/")[0] in extra:
        sub = folder / pattern.split("/")[0]
        sub.mkdir()
        for name in extra[sub.name]:
            (sub / name).touch()
        if sub.name == "broken":
            (sub / "gone.tar").symlink_to(folder / "nowhere")
    with pytest.raises(PlanError, match=says):
        list_location(str(folder / pattern), TAR)


def test_a_folder_of_folders_says_how_to_take_in_what_is_in_them(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.tar").touch()
    with pytest.raises(PlanError) as error:
        list_location(str(tmp_path), TAR)
    typed = f"{tmp_path}/**"
    assert f"has 0 files and 1 folders (a); {typed} takes in" in str(error.value)
    assert names(tmp_path, list_location(typed, TAR)) == ["a/1.tar"]


def test_control_characters_in_a_name_are_refused(tmp_path):
    (tmp_path / "a\nb.tar").touch()
    with pytest.raises(PlanError, match="control characters"):
        list_location(str(tmp_path), TAR)


def test_stat_of_a_missing_file(tmp_path):
    with pytest.raises(BadInputError, match=r"gone\.tar cannot be read: No such file"):
        stat_input(str(tmp_path / "gone.tar"))


def inputs(*paths):
    return [Input(path, 1) for path in paths]


@pytest.mark.parametrize(
    ("location", "paths", "ids"),
    [
        ("/d/*/*", ["/d/a/1.tar", "/d/b/1.tar.gz"], ["a/1", "b/1"]),
        ("/d/*/*", ["/d/a/1.tar"], ["a/1"]),  # the name it keeps when b/1.tar is added later
        ("/d/{a,b}/*.tar", ["/d/a/1.tar"], ["a/1"]),
        ("/d/a", ["/d/a/1.tar", "/d/a/2.tar"], ["1", "2"]),
        (["/d/a", "/d/b/*"], ["/d/a/1.tar", "/d/b/2.tar"], ["a/1", "b/2"]),
        ("/d/a/1.tar", ["/d/a/1.tar"], ["1"]),
        (["/d/a/1.tar", "/d/b/1.tar"], ["/d/a/1.tar", "/d/b/1.tar"], ["a/1", "b/1"]),
        ("s3://b/k/", ["s3://b/k/1.tar", "s3://b/k/2.x.tar"], ["1", "2.x"]),
        (["s3://b/*", "/d"], ["s3://b/1.tar", "/d/1.tar"], ["b/1", "d/1"]),
    ],
)
def test_ids_are_paths_below_what_the_location_fixes(location, paths, ids):
    assert ids_from_paths(inputs(*paths), location, TAR) == ids


def test_equal_ids_name_both_files():
    with pytest.raises(PlanError, match=r"/d/1.tar and /d/1.tar.gz would both be shard '1'"):
        ids_from_paths(inputs("/d/1.tar", "/d/1.tar.gz"), "/d", TAR)


@pytest.mark.parametrize("path", ["s3://b/x/../1.tar", "s3://b/x//1.tar"])
def test_unsafe_ids_are_refused(path):
    with pytest.raises(PlanError, match="no shard can be named"):
        ids_from_paths(inputs("s3://b/y/2.tar", path), "s3://b", TAR)


@pytest.fixture
def memory():
    import fsspec

    fs = fsspec.filesystem("memory")
    for number in range(12):
        fs.pipe(f"/bucket/{number}.tar", b"x" * number)
    fs.pipe("/bucket/notes.txt", b"x")
    yield fs
    fs.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("memory://bucket", [f"{n}.tar" for n in range(12)]),
        ("memory://bucket/?.tar", [f"{n}.tar" for n in range(10)]),
        ("memory://bucket/{0..4}.tar", [f"{n}.tar" for n in range(5)]),
        ("memory://bucket/{3,10}.tar", ["3.tar", "10.tar"]),
    ],
)
def test_urls(memory, pattern, expected):
    found = list_location(pattern, TAR)
    assert [item.path.rpartition("/")[2] for item in found] == expected
    assert all(item.path.startswith("memory://") and item.version for item in found)
    assert found[-1] == stat_input(found[-1].path)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("memory://bucket/*.tgz", "matches no object that ends in .tar"),
        ("memory://bucket/{8..15}.tar", "does not exist"),
        ("memory://none/1.tar", "does not exist"),
    ],
)
def test_urls_that_match_nothing(memory, pattern, says):
    with pytest.raises(PlanError, match=says):
        list_location(pattern, TAR)


def test_unknown_scheme_is_named():
    with pytest.raises(ConfigError, match="no filesystem is known for s4://"):
        remote.filesystem("s4://bucket/x")


def test_missing_package_names_the_extra(monkeypatch):
    def refuse(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(SetupError, match=r"pip install 'hpcpipe\[s3\]'"):
        list_location("s3://bucket/*.tar")


def test_secrets_in_urls_are_not_shown():
    assert remote.display("https://me:pw@host/a.tar?sig=abc") == "https://host/a.tar"


def test_s3(s3_bucket):
    import s3fs

    fs = s3fs.S3FileSystem()
    for name in ("a/0.tar", "a/1.tar", "a/10.tar", "a/2.tar", "a/b/3.tar", "a/notes"):
        fs.pipe(f"{s3_bucket}/{name}", name.encode())
    folder = f"{s3_bucket}/a"
    for pattern, expected in {
        f"{folder}": ["0", "1", "2", "10"],
        f"{folder}/?.tar": ["0", "1", "2"],
        f"{folder}/**/*.tar": ["0", "1", "2", "10", "b/3"],
        f"{folder}/{{0..2}}.tar": ["0", "1", "2"],
        f"{folder}/{{10,0,1,2}}.tar": ["0", "1", "2", "10"],
    }.items():
        found = list_location(pattern, TAR)
        assert [item.path for item in found] == [f"{folder}/{name}.tar" for name in expected]
        assert [item == stat_input(item.path) for item in found] == [True] * len(found)
    fs.pipe(f"{folder}/0.tar", b"new")
    assert stat_input(found[0].path).version != found[0].version
    both = list_location([f"{folder}/1.tar", folder], TAR)
    assert [item.path for item in both] == [item.path for item in found]
    for pattern, says in {
        f"{folder}/*.tgz": "matches no object that ends in .tar",
        f"{folder}/{{0..7}}.tar": "does not exist",
        f"{s3_bucket}-none/*.tar": "s3://.*-none",
    }.items():
        with pytest.raises(PlanError, match=says):
            list_location(pattern, TAR)
