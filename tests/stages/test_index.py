import gzip
import json
import tarfile

import numpy as np
import pytest

from hpcpipe.errors import BadInputError, ConfigError, PlanError, UpstreamIncompleteError
from hpcpipe.formats import sample_table
from hpcpipe.formats.ids import hash_keys, hash_uids
from hpcpipe.formats.sample_index import check_tars, open_index
from hpcpipe.stages.index import Index
from tests.stages.drive import Drive
from tests.stages.tars import sample, write_tar

UIDS = [f"{n:016x}{n * 77:016x}" for n in range(100)]


def index(folder, root, **options):
    stage = Index(input=str(folder), output=None, **{"uid": False, "duplicates": "error"} | options)
    return Drive(stage, root)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_table, "ROWS_PER_GROUP", 4)
    tars = tmp_path / "tars"
    write_tar(tars / "0.tar", [m for n in range(10) for m in sample(f"a{n}", uid=UIDS[n])])
    odd = [("readme", b"x"), *sample("d/long" + "x" * 120), ("d/e", None), ("d/b.c.txt", b"")]
    write_tar(tars / "1.tar", odd, tarfile.PAX_FORMAT)
    write_tar(tars / "2.tar", [])
    members = [*sample("a3", uid=UIDS[50]), ("z.jpg", b"1"), ("sub", None), ("z.txt", b"2")]
    write_tar(tars / "3.tar.gz", members, tarfile.GNU_FORMAT, "w:gz")
    return tars


def test_every_sample_is_where_the_index_says(folder, tmp_path):
    run = index(folder, tmp_path / "run", uid=True).run()
    opened = open_index(run.out)
    info = opened.info
    assert [(tar.id, tar.num_samples) for tar in info.tars] == [
        ("0", 10), ("1", 2), ("2", 0), ("3", 2),
    ]  # fmt: skip
    assert (info.num_samples, info.num_duplicate_keys, info.missing) == (14, 1, ())
    keys = [f"a{n}" for n in range(10)] + ["d/long" + "x" * 120, "d/b", "a3", "z"]
    assert opened.keys.tolist() == hash_keys(keys).tolist()
    uids = hash_uids([*UIDS[:10], UIDS[50]]).tolist()
    assert opened.uids.tolist() == [*uids[:10], (0, 0), (0, 0), uids[10], (0, 0)]
    made = [info.contents[number] for number in opened.samples["contents"]]
    plain = ("jpg", "txt", "json")
    assert [one.extensions for one in made] == [plain] * 11 + [("c.txt",), plain, ("jpg", "txt")]
    assert [one.is_plain for one in made] == [True] * 13 + [False]
    assert run.stats() == {"samples_indexed": 14, "samples_without_uid": 3}
    for number, key in enumerate(keys):
        tar, offset, length = opened.samples[["tar", "offset", "length"]][number]
        data = (folder / ("3.tar.gz" if tar == 3 else f"{tar}.tar")).read_bytes()
        data = gzip.decompress(data) if tar == 3 else data
        (tmp_path / "one.tar").write_bytes(data[offset : offset + length] + bytes(1024))
        with tarfile.open(tmp_path / "one.tar") as one:
            files = [member.name for member in one if member.isfile()]
        assert [name.removeprefix(f"{key}.") for name in files] == list(made[number].extensions)


def test_tables_are_readable_and_deterministic(folder, tmp_path):
    import pyarrow.parquet as pq

    for run in ("a", "b"):
        index(folder, tmp_path / run, uid=True).run()
    names = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(names) == 8
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    row = pq.read_table(tmp_path / "a/out/tars/0.parquet").to_pylist()[3]
    assert (row["key"], row["offset"], row["num_members"]) == ("a3", 3 * 6 * 512 + 3 * 512, 3)
    assert (row["extensions"], row["plain"], row["uid"]) == ("jpg/txt/json", True, UIDS[3])


def test_names_that_are_no_utf8(tmp_path):
    write_tar(tmp_path / "tars/0.tar", [("\udce9.jpg", b"x")])
    run = index(tmp_path / "tars", tmp_path / "run").run()
    assert open_index(run.out).keys.tolist() == hash_keys(["\udce9"]).tolist()


TWICE = [*sample("a"), *sample("b"), ("a.png", b"later"), ("b.x", b""), ("b.x", b"twice")]


@pytest.mark.parametrize(
    ("duplicates", "keys", "dropped"),
    [("keep", ["a", "b", "a", "b", "b"], 0), ("first", ["a", "b"], 3)],
)
def test_equal_keys_in_a_tar(tmp_path, duplicates, keys, dropped):
    write_tar(tmp_path / "tars/0.tar", TWICE)
    run = index(tmp_path / "tars", tmp_path / "run", duplicates=duplicates).run()
    opened = open_index(run.out)
    assert opened.keys.tolist() == hash_keys(keys).tolist()
    assert opened.info.num_duplicate_keys == len(keys) - 2
    assert run.stats().get("samples_dropped", 0) == dropped


def test_equal_keys_are_an_error_by_default(tmp_path):
    write_tar(tmp_path / "tars/0.tar", TWICE)
    with pytest.raises(BadInputError, match="key 'a' comes again at byte"):
        index(tmp_path / "tars", tmp_path / "run").run()


def test_tar_that_failed_is_named_as_missing(folder, tmp_path):
    data = (folder / "0.tar").read_bytes()
    (folder / "0.tar").write_bytes(data[:3000])
    run = index(folder, tmp_path / "run")
    first, *others = run.plan()
    with pytest.raises(BadInputError, match=r"0\.tar"):
        run.process(first)
    for shard in others:
        run.process(shard)
    run.finalize()
    assert open_index(run.out).info.missing == (str(folder / "0.tar"),)


def test_index_that_is_none(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"has no index\.json; make one with"):
        open_index(str(folder))
    with pytest.raises(ConfigError, match="must lie on a filesystem"):
        open_index("s3://bucket/index")
    run = index(folder, tmp_path / "run")
    run.process(run.plan()[0])
    with pytest.raises(UpstreamIncompleteError, match="not complete yet"):
        open_index(run.out)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda out: (out / "index.json").write_text("{"), "index.json is damaged"),
        (lambda out: (out / "index.json").write_text("[]"), "index.json is damaged"),
        (lambda out: (out / "index.json").write_text('{"format_version": 9}'), "version 9"),
        (lambda out: (out / "keys.npy").unlink(), "keys.npy is damaged"),
        (lambda out: (out / "keys.npy").write_bytes(b"no"), "keys.npy is damaged"),
        (lambda out: np.save(out / "samples.npy", np.zeros(3)), "samples.npy has"),
    ],
)
def test_damaged_index_is_refused(folder, tmp_path, harm, says):
    run = index(folder, tmp_path / "run").run()
    harm(tmp_path / "run/out")
    with pytest.raises(PlanError, match=says):
        open_index(run.out)


def test_tars_that_changed_are_noticed(folder, tmp_path):
    opened = open_index(index(folder, tmp_path / "run").run().out)
    check_tars(opened)
    with open(folder / "1.tar", "ab") as file:
        file.write(b"x")
    with pytest.raises(PlanError, match=r"1 of 4 tars changed .*1\.tar for one"):
        check_tars(opened)
    (folder / "2.tar").unlink()
    with pytest.raises(PlanError, match=r"2\.tar"):
        check_tars(opened)


def test_options_are_checked():
    with pytest.raises(ConfigError, match=r"stage\.duplicates=rename: must be one of"):
        Index(input="x", output=None, uid=False, duplicates="rename")


def test_a_json_that_is_broken_has_no_uid(tmp_path):
    members = [("a.json", b"{"), ("b.json", json.dumps({"uid": 7}).encode()), ("c.json", b"[]")]
    write_tar(tmp_path / "tars/0.tar", members)
    run = index(tmp_path / "tars", tmp_path / "run", uid=True).run()
    assert run.stats()["samples_without_uid"] == 2
    assert open_index(run.out).uids[1] == hash_uids(["7"])[0]
