import os
import shutil

import numpy as np
import pytest

from hpcpipe.errors import (
    BadInputError,
    ConfigError,
    PlanError,
    SetupError,
    UpstreamIncompleteError,
)
from hpcpipe.formats.source import open_source
from hpcpipe.formats.tar import scan
from hpcpipe.runtime.partial import Partials
from hpcpipe.stage import ShardStopped
from hpcpipe.stages._repack_keys import prefixes
from hpcpipe.stages.index import Index
from hpcpipe.stages.reshard import Reshard
from tests.stages.drive import RESHARD, Drive
from tests.stages.tars import read_tar, sample, write_tar

UIDS = [f"{n:016x}{n * 77:016x}" for n in range(1, 101)]


def indexed(folder, root, **options):
    options = {"uid": False, "duplicates": "error"} | options
    return Drive(Index(input=str(folder), output=None, **options), root).run().out


def repack(index, root, **options):
    return Drive(Reshard(**RESHARD | {"index": index} | options), root)


def samples_of(out):
    """Samples of all tars in order: for each the list of (name, content)."""
    found = []
    for name in sorted(os.listdir(out)):
        last = None
        for member, content in read_tar(f"{out}/{name}"):
            folder, slash, base = member.rpartition("/")
            key = folder + slash + base.partition(".")[0]
            if key != last:
                found.append([])
            found[-1].append((member, content))
            last = key
    return found


def make(key, number):
    return sample(key, 300 + 97 * number, UIDS[number])


@pytest.fixture
def folder(tmp_path):
    tars = tmp_path / "tars"
    for tar in range(3):
        members = [m for n in range(10) for m in make(f"k{tar}{n}", 10 * tar + n)]
        write_tar(tars / f"{tar}.tar", members)
    return tars


@pytest.fixture
def index(folder, tmp_path):
    return indexed(folder, tmp_path / "index", uid=True)


ALL = [make(f"k{n // 10}{n % 10}", n) for n in range(30)]


def test_input_order_is_kept_without_shuffle(index, tmp_path):
    run = repack(index, tmp_path / "run", shard_samples=8).run()
    assert sorted(os.listdir(run.out)) == [f"{n:05d}.tar" for n in range(4)]
    assert samples_of(run.out) == ALL
    assert [shard.num_samples for shard in run.shards] == [8, 8, 8, 6]
    assert run.stats() == {"samples_in": 30, "samples_out": 30, "samples_dropped": 0}


def test_tars_are_sound_and_copied_byte_for_byte(folder, index, tmp_path):
    run = repack(index, tmp_path / "run", shard_samples=10).run()
    for tar in range(3):
        assert (tmp_path / f"run/out/0000{tar}.tar").read_bytes() == (
            folder / f"{tar}.tar"
        ).read_bytes()
    assert run.results["00000"].outputs[0].num_samples == 10


def test_shuffle_has_every_sample_once_and_depends_on_the_seed(index, tmp_path):
    a = repack(index, tmp_path / "a", shard_samples=7, shuffle=True).run()
    repack(index, tmp_path / "b", shard_samples=7, shuffle=True).run()
    c = repack(index, tmp_path / "c", shard_samples=7, shuffle=True, seed=1).run()
    found = samples_of(a.out)
    assert found != ALL
    assert sorted(found) == ALL
    assert sorted(samples_of(c.out)) == ALL
    assert samples_of(c.out) != found
    for name in os.listdir(a.out):
        data = (tmp_path / "a/out" / name).read_bytes()
        assert data == (tmp_path / "b/out" / name).read_bytes()


def test_shards_can_be_done_alone_and_in_any_order(index, tmp_path):
    a = repack(index, tmp_path / "a", shard_samples=7, shuffle=True).run()
    b = repack(index, tmp_path / "b", shard_samples=7, shuffle=True)
    for shard in reversed(b.plan()):
        b.state = None
        b.process(shard)
    assert samples_of(a.out) == samples_of(b.out)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_tars_are_not_larger_than_asked_for(index, tmp_path, shuffle, chunk, monkeypatch):
    monkeypatch.setattr("hpcpipe.stages._repack_plan._CHUNK_NUM", chunk)
    run = repack(index, tmp_path / "run", shard_bytes=30_000, shuffle=shuffle).run()
    sizes = [result.outputs[0].size_bytes for result in run.results.values()]
    assert max(sizes) <= 30_000
    planned = [shard.num_bytes for shard in run.shards]
    assert all(
        0 <= size - (plan + 1024) < 10_240 for size, plan in zip(sizes, planned, strict=True)
    )
    lengths = [20_480 - 1024 - plan for plan in planned]
    assert max(lengths[:-1]) < 7 * 1024, "another sample would have fitted"
    assert sorted(samples_of(run.out)) == ALL


def test_a_sample_larger_than_a_tar_stands_alone(index, tmp_path):
    run = repack(index, tmp_path / "run", shard_bytes=1).run()
    assert len(run.shards) == 30
    assert samples_of(run.out) == ALL


@pytest.mark.parametrize("limit", [1, 3000, 9000])
@pytest.mark.parametrize("keys", ["keep", "renumber"])
def test_small_windows_give_the_same(index, tmp_path, monkeypatch, limit, keys):
    options = {"shard_samples": 11, "shuffle": True, "keys": keys}
    a = repack(index, tmp_path / "a", **options).run()
    monkeypatch.setattr("hpcpipe.stages._repack_read.WINDOW_BYTES", limit)
    monkeypatch.setattr("hpcpipe.stages._repack_read.WINDOW_SAMPLES", 3)
    monkeypatch.setattr("hpcpipe.stages._repack_read.MAX_OPEN", 1)
    monkeypatch.setattr("hpcpipe.stages._repack_read._FEW_TARS", 0)
    repack(index, tmp_path / "b", **options).run()
    for name in os.listdir(a.out):
        data = (tmp_path / "a/out" / name).read_bytes()
        assert data == (tmp_path / "b/out" / name).read_bytes()


def test_renumber(index, tmp_path):
    run = repack(index, tmp_path / "run", shard_samples=8, keys="renumber").run()
    expected = [
        [(f"{n:09d}.{name.partition('.')[2]}", data) for name, data in one]
        for n, one in enumerate(ALL)
    ]
    assert samples_of(run.out) == expected


def test_prefix(tmp_path):
    members = [*sample("dir/a"), *sample("b" * 95)]
    write_tar(tmp_path / "tars/x/1.0.tar", members)
    write_tar(tmp_path / "tars/y/1.0.tar", members)
    index = indexed(tmp_path / "tars/*/*.tar", tmp_path / "index")
    run = repack(index, tmp_path / "run", shard_samples=9, keys="prefix").run()
    keys = [one[0][0].partition(".")[0] for one in samples_of(run.out)]
    long = "b" * 95
    assert keys == ["dir/x-1-0_a", f"x-1-0_{long}", "dir/y-1-0_a", f"y-1-0_{long}"]
    first = [
        (name.replace("x-1-0_", ""), data) for one in samples_of(run.out)[:2] for name, data in one
    ]
    assert first == members


def test_prefixes_never_make_two_keys_equal():
    assert prefixes(["a", "b/c.d"]) == ["a_", "b-c-d_"]
    assert prefixes(["a", "a_b"]) == ["00000_", "00001_"]
    assert prefixes(["a/b", "a.b"]) == ["00000_", "00001_"]


@pytest.fixture
def twice(tmp_path):
    members = [*sample("a"), *sample("b"), *sample("a-2")]
    write_tar(tmp_path / "tars/0.tar", members)
    write_tar(tmp_path / "tars/1.tar", members[:6])
    return indexed(tmp_path / "tars", tmp_path / "index")


def keys_of(run):
    return [one[0][0].partition(".")[0] for one in samples_of(run.out)]


def test_equal_keys_in_different_tars_are_refused_when_planned(twice, tmp_path):
    run = repack(twice, tmp_path / "run", shard_samples=9)
    with pytest.raises(ConfigError, match=r"2 samples have a key .*stage\.keys=prefix"):
        run.plan()


@pytest.mark.parametrize(
    ("options", "keys", "num_dropped"),
    [
        ({"duplicates": "first"}, ["a", "b", "a-2"], 2),
        ({"duplicates": "rename"}, ["a", "b", "a-2", "a-3", "b-2"], 0),
        ({"keys": "prefix"}, ["0_a", "0_b", "0_a-2", "1_a", "1_b"], 0),
        ({"keys": "renumber"}, [f"{n:09d}" for n in range(5)], 0),
        ({"duplicates": "first", "keys": "renumber"}, [f"{n:09d}" for n in range(5)], 0),
    ],
)
def test_equal_keys_in_different_tars(twice, tmp_path, options, keys, num_dropped):
    run = repack(twice, tmp_path / "run", shard_samples=9, **options).run()
    assert keys_of(run) == keys
    assert run.results["00000"].outputs[0].num_samples == len(keys)
    assert run.stats()["samples_dropped"] == num_dropped
    assert run.stats()["samples_in"] == 5


@pytest.fixture
def twice_in_one(tmp_path):
    write_tar(tmp_path / "tars/0.tar", [*sample("a"), *sample("a-2"), *sample("b"), ("a.png", b"")])
    return indexed(tmp_path / "tars", tmp_path / "index", duplicates="keep")


def test_equal_keys_in_one_tar_need_a_policy_with_prefixes(twice_in_one, tmp_path):
    run = repack(twice_in_one, tmp_path / "run", shard_samples=9, keys="prefix")
    with pytest.raises(BadInputError, match=r"key 'a' is twice in one new tar.*0\.tar"):
        run.run()
    options = {"keys": "prefix", "duplicates": "rename", "shard_samples": 9}
    assert keys_of(repack(twice_in_one, tmp_path / "run2", **options).run()) == [
        "0_a", "0_a-2", "0_b", "0_a-3",
    ]  # fmt: skip


def test_entries_of_no_sample_are_left_out(tmp_path):
    members = [("readme", b"x"), ("a.jpg", b"1"), ("sub", None), ("a.txt", b"2"), *sample("b")]
    write_tar(tmp_path / "tars/0.tar", members)
    index = indexed(tmp_path / "tars", tmp_path / "index")
    run = repack(index, tmp_path / "run", shard_samples=9).run()
    with open_source(f"{run.out}/00000.tar") as source:
        assert [m.name for m in scan(source)] == ["a.jpg", "a.txt", "b.jpg", "b.txt", "b.json"]


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("keep.txt", [f"k{n // 10}{n % 10}" for n in range(0, 30, 3)]),
        ("keep.npy", [(int(UIDS[n][:16], 16), int(UIDS[n][16:], 16)) for n in range(0, 30, 3)]),
    ],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_keep(index, tmp_path, monkeypatch, name, entries, shuffle):
    monkeypatch.setattr("hpcpipe.stages._repack_plan._CHUNK_NUM", 7)
    if name.endswith(".npy"):
        np.save(tmp_path / name, np.array(entries, np.dtype("u8,u8")))
    else:
        (tmp_path / name).write_text("\n".join(entries))
    options = {"keep": str(tmp_path / name), "shuffle": shuffle, "shard_samples": 4}
    run = repack(index, tmp_path / "run", **options).run()
    found = samples_of(run.out)
    assert (sorted(found) if shuffle else found) == ALL[::3]
    assert run.stats() == {"samples_in": 30, "samples_out": 10, "samples_dropped": 20}


def test_require(tmp_path):
    members = [*sample("a"), ("b.jpg", b""), ("c.JSON", b""), ("c.png", b""), *sample("d")]
    write_tar(tmp_path / "tars/0.tar", members)
    index = indexed(tmp_path / "tars", tmp_path / "index")
    run = repack(index, tmp_path / "run", shard_samples=9, require=[".Json"]).run()
    assert keys_of(run) == ["a", "c", "d"]


def test_what_keeps_nothing_is_refused(index, tmp_path):
    with pytest.raises(PlanError, match="none of the 30 samples passes"):
        repack(index, tmp_path / "run", shard_samples=9, require=["flac"]).plan()
    write_tar(tmp_path / "none/0.tar", [])
    empty = indexed(tmp_path / "none", tmp_path / "empty")
    with pytest.raises(PlanError, match="has no samples"):
        repack(empty, tmp_path / "run", shard_samples=9).plan()


def test_uids_need_an_index_that_has_them(folder, tmp_path):
    index = indexed(folder, tmp_path / "index")
    (tmp_path / "keep.txt").write_text(UIDS[0])
    options = {"keep": str(tmp_path / "keep.txt"), "keep_field": "uid", "shard_samples": 9}
    with pytest.raises(ConfigError, match=r"make the index with stage\.uid=true"):
        repack(index, tmp_path / "run", **options).plan()


def test_a_uid_of_zeros_is_a_uid(tmp_path):
    members = [*sample("a", uid="0" * 32), *sample("b"), *sample("c", uid=UIDS[0])]
    write_tar(tmp_path / "tars/0.tar", members)
    index = indexed(tmp_path / "tars", tmp_path / "index", uid=True)
    np.save(tmp_path / "keep.npy", np.zeros(1, "u8,u8"))
    options = {"keep": str(tmp_path / "keep.npy"), "shard_samples": 9}
    assert keys_of(repack(index, tmp_path / "run", **options).run()) == ["a"]


def test_uids_may_lack_in_some_batches_only(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcpipe.formats.sample_table.ROWS_PER_GROUP", 2)
    members = [m for n in range(8) for m in sample(f"k{n}", uid=UIDS[n] if n % 4 > 1 else None)]
    write_tar(tmp_path / "tars/0.tar", members)
    index = indexed(tmp_path / "tars", tmp_path / "index", uid=True)
    (tmp_path / "keep.txt").write_text("\n".join(UIDS[:8]))
    options = {"keep": str(tmp_path / "keep.txt"), "keep_field": "uid", "shard_samples": 9}
    assert keys_of(repack(index, tmp_path / "run", **options).run()) == ["k2", "k3", "k6", "k7"]


def test_a_keep_list_that_is_not_there_is_named_with_its_option(index, tmp_path):
    run = repack(index, tmp_path / "run", shard_samples=9, keep=str(tmp_path / "nope.txt"))
    with pytest.raises(PlanError, match=r"^stage\.keep: .*/nope\.txt does not exist"):
        run.plan()


def test_compressed_tars_are_read_in_order_only(folder, tmp_path, monkeypatch):
    for tar in range(3):
        members = read_tar(folder / f"{tar}.tar")
        write_tar(tmp_path / f"gz/{tar}.tar.gz", members, mode="w:gz")
    index = indexed(tmp_path / "gz", tmp_path / "index")
    monkeypatch.setattr("hpcpipe.stages._repack_read._FEW_TARS", 0)
    monkeypatch.setattr("hpcpipe.stages._repack_read.MAX_OPEN_GZIP", 1)
    run = repack(index, tmp_path / "run", shard_samples=8).run()
    assert samples_of(run.out) == ALL
    with pytest.raises(ConfigError, match=r"0\.tar\.gz is too compressed for"):
        repack(index, tmp_path / "run2", shard_samples=8, shuffle=True).plan()


def test_index_that_is_not_complete_is_refused(folder, tmp_path, caplog, monkeypatch):
    import hpcpipe

    monkeypatch.chdir(tmp_path)
    os.truncate(folder / "0.tar", 20_000)
    assert hpcpipe.run("index", input=str(folder), output=str(tmp_path / "a")).exit_code == 3
    with pytest.raises(UpstreamIncompleteError, match="not complete yet"):
        repack(f"{tmp_path}/a", tmp_path / "run", shard_samples=9).plan()
    options = {"input": str(folder), "output": str(tmp_path / "b")}
    allowed = ["run.max_failed_fraction=0.4"]
    assert hpcpipe.run("index", overrides=allowed, **options).exit_code == 0
    run = repack(f"{tmp_path}/b", tmp_path / "run", shard_samples=9)
    assert [shard.num_samples for shard in run.plan()] == [9, 9, 2]
    assert "lacks 1 tars" in caplog.text
    write_tar(folder / "3.tar", sample("new"))
    os.truncate(folder / "3.tar", 600)
    again = hpcpipe.run("index", overrides=[*allowed, "extend=true"], **options)
    assert again.exit_code == 3
    with pytest.raises(UpstreamIncompleteError, match="2 quarantined"):
        run.plan()


def test_tar_that_changes_is_refused_when_planned_and_when_read(folder, index, tmp_path):
    run = repack(index, tmp_path / "run", shard_samples=15)
    first, second = run.plan()
    write_tar(folder / "2.tar", sample("other"))
    run.process(first)
    with pytest.raises(BadInputError, match=r"2\.tar changed since it was indexed"):
        run.process(second)
    with pytest.raises(PlanError, match="1 of 3 tars changed"):
        repack(index, tmp_path / "run2", shard_samples=15).plan()
    (folder / "2.tar").unlink()
    run.state = None
    with pytest.raises(BadInputError, match=r"2\.tar cannot be read"):
        run.process(second)


def test_tar_that_shrinks_while_it_is_open_is_noticed(folder, index, tmp_path):
    run = repack(index, tmp_path / "run", shard_samples=5)
    first, second, *_ = run.plan()
    run.process(first)
    os.truncate(folder / "0.tar", 20_000)
    with pytest.raises(BadInputError, match=r"0\.tar ends inside"):
        run.process(second)
    assert os.listdir(run.out) == ["00000.tar"]


def test_index_made_anew_stops_the_workers(folder, index, tmp_path):
    run = repack(index, tmp_path / "run", shard_samples=15)
    first, _ = run.plan()
    write_tar(folder / "3.tar", sample("other"))
    shutil.rmtree(tmp_path / "index")
    indexed(folder, tmp_path / "index")
    with pytest.raises(SetupError, match="was made anew since this run was planned"):
        run.process(first)
    os.unlink(tmp_path / "run/artifacts/order.json")
    with pytest.raises(SetupError, match="the plan of this repack cannot be read"):
        run.process(first)


def test_worker_stops_when_told(index, tmp_path):
    from hpcpipe.runtime.context import ShardContext

    run = repack(index, tmp_path / "run", shard_samples=30)
    (shard,) = run.plan()
    state = run.stage.setup(run.setup_context())
    partials = Partials(run.root / "partial", "0", 1)
    ctx = ShardContext(shard.id, 1, run.folder, run.scratch, run.artifacts, partials, lambda: True)
    with pytest.raises(ShardStopped):
        run.stage.process(shard, ctx, state)
    ctx.discard()


def test_repack_cannot_be_extended(index, tmp_path):
    assert repack(index, tmp_path / "run", shard_samples=3).stage.extendable is False


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # webdataset closes late
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_the_result(index, tmp_path):
    import webdataset

    run = repack(index, tmp_path / "run", shard_samples=10, shuffle=True, keys="renumber").run()
    urls = f"{run.out}/{{00000..00002}}.tar"
    found = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [one["__key__"] for one in found] == [f"{n:09d}" for n in range(30)]
    assert sorted(one["txt"] for one in found) == [one[1][1] for one in ALL]


def test_remote_tars(folder, s3_bucket, tmp_path):
    import s3fs

    s3fs.S3FileSystem().put(f"{folder}/", f"{s3_bucket}/tars/", recursive=True)
    run = Drive(
        Index(input=f"{s3_bucket}/tars", output=None, uid=True, duplicates="error"),
        tmp_path / "index",
    ).run()
    local = repack(indexed(folder, tmp_path / "i"), tmp_path / "a", shard_samples=7, shuffle=True)
    local.run()
    away = Drive(
        Reshard(**RESHARD | {"index": run.out, "shard_samples": 7, "shuffle": True}),
        tmp_path / "b",
        output=f"{s3_bucket}/out",
    ).run()
    s3fs.S3FileSystem().get(f"{s3_bucket}/out/", f"{tmp_path}/got/", recursive=True)
    assert samples_of(tmp_path / "got") == samples_of(local.out)
    assert away.stats() == local.stats()
