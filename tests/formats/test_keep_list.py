import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpipe.errors import PlanError
from hpcpipe.formats import ids, json_keys, keep_list
from hpcpipe.formats.keep_list import KeepList

KEYS = [f"dir.x/{number:05d}-ü" for number in range(300)]
UIDS = [f"{number * 7919:016x}{number:016x}" for number in range(300)]
PAIRS = np.array([(int(u[:16], 16), int(u[16:], 16)) for u in UIDS], np.dtype("u8,u8"))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(ids, "CHUNK_NUM", 64)
    monkeypatch.setattr("hpcpipe.formats.key_files.BATCH_NUM", 50)
    monkeypatch.setattr(json_keys, "CHUNK_BYTES", 70)


def text(path, entries):
    path.write_text("\n".join(entries) + "\n\n")


def text_gz(path, entries):
    path.write_bytes(gzip.compress("\r\n".join(entries).encode()))


def json_list(path, entries):
    path.write_text(json.dumps(entries, indent=1))


def json_names(path, entries):
    path.write_text(json.dumps({f"{entry}.json": [12, {"a": entry}] for entry in entries}))


def jsonl(path, entries):
    path.write_text("".join(json.dumps({"uid": "no", "key": entry}) + "\n" for entry in entries))


def jsonl_strings(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def write_parquet(path, columns):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=100)


def parquet(path, entries):
    import pyarrow

    entries = pyarrow.array(entries).dictionary_encode()
    write_parquet(path, {"other": range(len(entries)), "key": entries})


def npy(path, entries):
    np.save(path, np.array(entries))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.txt", text),
        ("a.txt.gz", text_gz),
        ("a.json", json_list),
        ("b.json", json_names),
        ("a.jsonl", jsonl),
        ("b.jsonl", jsonl_strings),
        ("a.parquet", parquet),
        ("a.npy", npy),
    ],
)
def test_every_kind_of_key_list_gives_the_same_file(tmp_path, name, write):
    text(tmp_path / "reference", KEYS)
    keep_list.build(str(tmp_path / "reference"), None, tmp_path / "reference.npy")
    write(tmp_path / name, KEYS)
    built = keep_list.build(str(tmp_path / name), None, tmp_path / "out.npy")
    assert built == ("key", 300, 0)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "reference.npy").read_bytes()
    kept = KeepList.open(tmp_path / "out.npy")
    assert len(kept) == 300
    assert kept.contains(KEYS).all()
    assert kept.contains(["no", KEYS[3], "", "dir.x/00001", KEYS[0]]).tolist() == [0, 1, 0, 0, 1]


def uid_pairs(path):
    np.save(path, PAIRS[::-1])


def uid_columns(path):
    np.save(path, PAIRS.view("u8").reshape(-1, 2))


def uid_parquet(path):
    write_parquet(path, {"uid": UIDS})


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.npy", uid_pairs), ("b.npy", uid_columns), ("a.parquet", uid_parquet)],
)
def test_uid_lists_are_told_from_key_lists(tmp_path, name, write):
    write(tmp_path / name)
    assert keep_list.build(str(tmp_path / name), None, tmp_path / "out.npy") == ("uid", 300, 0)
    kept = KeepList.open(tmp_path / "out.npy")
    assert kept.field == "uid"
    assert kept.contains(UIDS).all()
    other = ["f" * 32, UIDS[1].upper(), "no uid", UIDS[4][:-1] + "9", "+" + UIDS[1][1:]]
    assert kept.contains(other).tolist() == [0, 1, 0, 0, 0]
    assert np.array_equal(np.load(tmp_path / "out.npy").view(np.dtype("u8,u8")), PAIRS)


def test_uids_that_are_no_numbers_are_hashed(tmp_path):
    text(tmp_path / "a.txt", ["some-uid.x", UIDS[5], "g" * 32])
    keep_list.build(str(tmp_path / "a.txt"), "uid", tmp_path / "out.npy")
    kept = KeepList.open(tmp_path / "out.npy")
    assert kept.contains(["some-uid.x", "some-uid", "g" * 32]).tolist() == [True, False, True]
    assert kept.contains(["g" * 32, UIDS[5], "h" * 32, UIDS[6]]).tolist() == [1, 1, 0, 0]


def test_several_files_and_duplicates(tmp_path):
    text(tmp_path / "1.txt", KEYS[:200])
    text(tmp_path / "2.txt", KEYS[100:] + KEYS[:1])
    built = keep_list.build(str(tmp_path / "*.txt"), "key", tmp_path / "out.npy")
    assert built == ("key", 300, 101)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.txt", "2.txt", "out.npy"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=600),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=20),
)
@settings(deadline=None, max_examples=60)
def test_ids_that_cluster_are_sorted_and_found(tmp_path_factory, pairs, asked):
    dest = tmp_path_factory.mktemp("ids") / "out.npy"
    array = np.array(pairs, ids.ID_DTYPE)
    found = ids.sort_ids([array[:7], array[7:]], dest)
    assert np.load(dest).tolist() == sorted(set(pairs))
    assert found == (len(set(pairs)), len(pairs) - len(set(pairs)))
    contained = KeepList.open(dest).contains_ids(np.array(asked, ids.ID_DTYPE))
    assert contained.tolist() == [pair in set(pairs) for pair in asked]


def test_buckets_stay_small_wherever_the_ids_are(tmp_path, monkeypatch):
    sizes = []
    sort = ids._sorted_unique
    monkeypatch.setattr(ids, "_sorted_unique", lambda a: sizes.append(len(a)) or sort(a))
    skewed = np.zeros(20_000, ids.ID_DTYPE)
    skewed["lo"] = np.random.default_rng(1).permutation(20_000)
    ids.sort_ids([skewed], tmp_path / "out.npy")
    assert len(sizes) > 3 * math.ceil(20_000 / 64)
    assert max(size for size in sizes if size != 20_000) <= 4 * 64


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"\n \n", "a.txt is empty: nothing would be kept"),
        ("a.json", b"[]", "a.json is empty"),
        ("a.json", b'["a", 3]', "a.json: expected a string before character 7, found a number"),
        (
            "a.json",
            b'[{"key": "a"}]',
            "found an object: give the keys or uids alone, or one object a line in a .jsonl",
        ),
        ("a.json", b'["a" "b"]', "expected , or ] at character 5, found '\"'"),
        ("a.json", b'{"a": }', "Expecting value at character 6"),
        ("a.json", b'["a", "b', "Unterminated string"),
        ("a.json", b'["a", "b"', "found the end"),
        ("a.json", b"7", "expected a JSON list or mapping, found '7'"),
        ("a.json", b'["\xff"]', "not UTF-8"),
        ("a.jsonl", b'"a"\n{"key": "b"\n', "a.jsonl, line 2: not valid json"),
        (
            "a.jsonl",
            b'\n{"uid": "b"}\n',
            "a.jsonl, line 2: no field 'key'; it has uid: set stage.keep_field=uid",
        ),
        (
            "a.jsonl",
            b'{"id": "b"}\n',
            "it has id: name the field key or uid (stage.keep_field)",
        ),
        ("a.jsonl", b"7\n", "line 1: expected a string"),
        ("a.parquet", b"PAR1 nothing", "a.parquet is not a parquet file"),
        ("a.npy", b"nothing at all", "a.npy is not a npy file"),
        ("a.txt.gz", b"nothing", "a.txt.gz is not a sound gzip file"),
        ("a.txt.gz", gzip.compress(b"k\n" * 99999)[:-30], "a.txt.gz is not a sound gzip file"),
    ],
)
def test_bad_lists_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlanError) as error:
        keep_list.build(str(tmp_path / name), "key", tmp_path / "out.npy")
    assert says in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"url": ["a"], "uid": ["b"]}, "'key'; it has url, uid: set stage.keep_field=uid"),
        (
            {"id": ["a"]},
            r"no column 'key'; it has id: name the column key or uid \(stage\.keep_field\)",
        ),
        ({"key": [1, 2]}, "column 'key' is int64, and should be strings"),
        ({"key": ["a", "b", None]}, "column 'key' is null in row 2"),
    ],
)
def test_bad_parquet_is_refused(tmp_path, table, says):
    write_parquet(tmp_path / "a.parquet", table)
    with pytest.raises(PlanError, match=says):
        keep_list.build(str(tmp_path / "a.parquet"), "key", tmp_path / "out.npy")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(3), "dtype float64; expected pairs"),
        (np.zeros((3, 3), "u8"), r"shape \(3, 3\)"),
        (np.array([{}, None]), "dtype object"),
        (PAIRS, "uids as numbers, not keys: set stage.keep_field=uid"),
        (np.zeros((3, 2), "u8", order="F"), "save it in C order"),
    ],
)
def test_bad_npy_is_refused(tmp_path, array, says):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(PlanError, match=says):
        keep_list.build(str(tmp_path / "a.npy"), "key", tmp_path / "out.npy")


def test_truncated_npy_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", PAIRS)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-24])
    with pytest.raises(PlanError, match=r"a\.npy is truncated"):
        keep_list.build(str(tmp_path / "a.npy"), None, tmp_path / "out.npy")


def test_list_at_a_url(tmp_path):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe("/lists/a.txt", "\n".join(KEYS).encode())
    assert keep_list.build("memory://lists/a.txt", None, tmp_path / "out.npy") == ("key", 300, 0)
    fs.rm("/lists", recursive=True)


def test_list_that_may_not_be_read(tmp_path, monkeypatch):
    text(tmp_path / "a.txt", KEYS)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hpcpipe.formats.key_files._open_raw", refuse)
    with pytest.raises(PlanError, match=r"a\.txt cannot be read: Permission denied"):
        keep_list.build(str(tmp_path / "a.txt"), "key", tmp_path / "out.npy")


def test_store_that_fails_while_a_list_is_read(tmp_path, monkeypatch):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe("/lists/a.txt", b"a")

    def fail(path):
        raise RuntimeError("no credentials")

    monkeypatch.setattr("hpcpipe.formats.key_files._open_raw", fail)
    with pytest.raises(PlanError, match=r"a\.txt could not be read: RuntimeError"):
        keep_list.build("memory://lists/a.txt", "key", tmp_path / "out.npy")
    fs.rm("/lists", recursive=True)
