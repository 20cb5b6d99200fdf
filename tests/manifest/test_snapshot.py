"""What a snapshot and the rest of the journals say is what all journals say."""

import json

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcpipe.manifest import compaction
from hpcpipe.manifest import snapshot as snapshots
from hpcpipe.manifest.journal import FINALIZE, Brief, Event, JournalReader, JournalWriter
from hpcpipe.manifest.new_rundir import NewRunDir
from hpcpipe.manifest.plan import Plan, write_plan
from hpcpipe.manifest.rundir import FORMAT_VERSION, RunDir, RunInfo
from hpcpipe.manifest.snapshot import STATE_COLUMNS, read_snapshot, reader_after, snapshot_path
from hpcpipe.manifest.state import RunState
from hpcpipe.stage import OutputFile, Shard

IDS = ["a", "b", "c", "d", "e"]
BLOCK_SIZE = 2
MAX_ATTEMPTS, MAX_LOST = 3, 2


def make_run(path, shards=IDS, name="n"):
    new = NewRunDir(path)
    write_plan(new.path / "plan.jsonl", [Shard(i) for i in shards])
    return new.publish(
        RunInfo(
            format_version=FORMAT_VERSION,
            stage="toy",
            target="x.Y",
            run_name=name,
            fingerprint="f" * 16,
            output="/out",
            block_size=BLOCK_SIZE,
            has_finalize=True,
            created_at=1.0,
            version="0",
        ),
        "stage_name: toy\n",
    )


def write(run, journal, *events):
    """Append to a journal, as its one writer does."""
    path = run.journal / f"{journal}.jsonl"
    if path.exists():
        writer = JournalWriter(path.with_suffix(".new"))
        writer.write(*events)
        with path.open("ab") as file:
            file.write(path.with_suffix(".new").read_bytes())
        path.with_suffix(".new").unlink()
    else:
        JournalWriter(path).write(*events)


def write_snapshot(run, plan=None):
    return compaction.write_snapshot(
        run, plan or Plan(run.path, BLOCK_SIZE), MAX_ATTEMPTS, MAX_LOST
    )


def view(run, *, use_snapshot):
    """All that a reader of a run can ask."""
    plan = Plan(run.path, BLOCK_SIZE)
    state = RunState(plan, MAX_ATTEMPTS, MAX_LOST)
    snapshot = read_snapshot(run, plan, STATE_COLUMNS, even_small=True) if use_snapshot else None
    if snapshot is not None:
        state.restore(snapshot.attempts())
        for _, events in snapshot.events(Brief):
            state.apply(events)
    for _, events in reader_after(run, snapshot, Brief).batches():
        state.apply(events)
    ids = [*plan.ids, FINALIZE]
    return {
        "used": snapshot is not None,
        "status": {i: state.status(i) for i in ids},
        "attempt": {i: state.done_attempt(i) for i in ids},
        "failed": {i: [e.attempt for e in state.failed_attempts(i)] for i in ids},
        "lost": {i: state.lost_hosts(i) for i in ids},
        "next": {b: state.next_attempt(str(b)) for b in (*range(plan.num_blocks), FINALIZE)},
        "counts": state.counts(),
        "pending": state.pending(),
    }


def done(shard, attempt):
    return Event(
        event="done",
        shard=shard,
        attempt=attempt,
        at=attempt + 0.123456789,
        outputs=(OutputFile(f"{shard}.tar", attempt, "x:y"),),
        stats={"n": attempt, "share": attempt / 3},
    )


BLOCKS = st.sampled_from(["0", "1", "2", FINALIZE])
SHARDS = st.sampled_from([*IDS, "later", FINALIZE])
EVENTS = st.one_of(
    st.builds(done, SHARDS, st.integers(1, 4)),
    st.builds(
        Event,
        st.just("failed"),
        st.integers(1, 4),
        SHARDS,
        final=st.booleans(),
        error=st.sampled_from(["", "it broke", "line one\nline two\u2028\tthree"]),
    ),
    st.builds(Event, st.just("closed"), st.integers(1, 4), block=BLOCKS),
    st.builds(
        Event, st.just("lost"), st.integers(1, 4), block=BLOCKS, host=st.sampled_from(["n1", "n2"])
    ),
    st.builds(Event, st.just("reset"), st.integers(0, 4), SHARDS),
)
TOLD = st.lists(st.tuples(st.sampled_from(["v", "w"]), EVENTS), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=TOLD, second=TOLD, third=TOLD, is_extended=st.booleans())
def test_any_split_of_any_events_gives_the_same_state(
    tmp_path_factory, first, second, third, is_extended
):
    run = make_run(tmp_path_factory.mktemp("run") / "run")
    for part in (first, second):
        for journal, event in part:
            write(run, journal, event)
        write_snapshot(run)
    if is_extended:
        write_plan(run.path / "plan-0002.jsonl", [Shard("later")])
    for journal, event in third:
        write(run, journal, event)
    with_snapshot = view(run, use_snapshot=True)
    assert with_snapshot.pop("used")
    without = view(run, use_snapshot=False)
    assert not without.pop("used")
    assert with_snapshot == without


WHOLE = st.integers(0, 2**53)
NUMBERS = st.one_of(WHOLE, st.floats(-1e9, 1e9))
DONE = st.builds(
    Event,
    st.just("done"),
    st.integers(1, 3),
    st.sampled_from(IDS),
    at=st.floats(0, 2e9),
    host=st.sampled_from(["", "n1"]),
    seconds=st.floats(0, 1e6),
    num_samples=WHOLE,
    bytes_in=WHOLE,
    stats=st.dictionaries(st.sampled_from(["n", "share", "größe"]), NUMBERS),
    outputs=st.lists(
        st.builds(
            OutputFile,
            st.sampled_from(["x.tar", "ä/y.tar"]),
            WHOLE,
            st.sampled_from(["", "x:y"]),
            st.none() | WHOLE,
        ),
        max_size=3,
    ).map(tuple),
)
LINES = st.one_of(
    st.one_of(DONE, EVENTS).map(msgspec.json.encode),
    st.sampled_from(
        [
            b"",
            b"[1]",
            b'{"event":"done","attempt":1,"sh\x00',
            b'{"event":"done","attempt":1,"shard":"a"}{"event":"done","attempt":2,"shard":"a"}',
            b'{"event":"done","attempt":3,"shard":"b","host":"\xff"}',
            b'{"event":"done","attempt":"3","shard":"b"}',
            b'{"event":"of a later version","attempt":3,"shard":"b"}',
            b'{"event":"done","attempt":3,"shard":"c","novel":{"n":[1,null]},"at":7}',
        ]
    ),
)
JOURNALS = st.fixed_dictionaries({name: st.lists(LINES, max_size=8) for name in ("v", "w")})


def rows_by_events(run):
    """What the snapshot must say of shards that are done, one line after the other."""
    state = RunState(Plan(run.path, BLOCK_SIZE), MAX_ATTEMPTS, MAX_LOST)
    told = JournalReader(run.journal, Event).read()
    state.apply([event for _, event in told])
    rows = {shard_id: [] for shard_id in IDS if state.is_done(shard_id)}
    for worker, event in told:
        if event.event == "done" and state.done_attempt(event.shard) == event.attempt:
            files = [msgspec.structs.asdict(file) for file in event.outputs]
            row = {"attempt": event.attempt, "worker": worker, "host": event.host, "error": None}
            row |= {"ended_at": event.at, "seconds": event.seconds, "stats": event.stats}
            row |= {"num_samples": event.num_samples, "bytes_in": event.bytes_in}
            row |= {"outputs": files, "bytes_out": sum(file["size_bytes"] for file in files)}
            rows.get(event.shard, []).append(row)
    return rows


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=JOURNALS, second=JOURNALS, cut=st.integers(0, 30))
def test_the_rows_say_what_the_lines_said(tmp_path_factory, first, second, cut):
    run = make_run(tmp_path_factory.mktemp("run") / "run")
    whole = {name: b"".join(line + b"\n" for line in lines) for name, lines in first.items()}
    for name, data in whole.items():
        torn = data[: max(len(data) - cut, 0)]
        (run.journal / f"{name}.jsonl").write_bytes(torn)
    write_snapshot(run)
    for name, data in whole.items():
        rest = b"".join(line + b"\n" for line in second[name])
        (run.journal / f"{name}.jsonl").write_bytes(data + rest)
    write_snapshot(run)
    found = {row["shard"]: row for row in pq.read_table(snapshot_path(run)).to_pylist()}
    expected = rows_by_events(run)
    assert {i for i, row in found.items() if row["status"] == "done"} == set(expected)
    for shard_id, rows in expected.items():
        row = {name: found[shard_id][name] for name in rows[0]}
        assert row | {"stats": dict(row["stats"])} in rows
    assert view(run, use_snapshot=True) == view(run, use_snapshot=False) | {"used": True}


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "run")
    write(run, "w-1", done("a", 2), Event("failed", 1, "b", error="bad", error_class="KeyError",
                                          final=True, host="n7", at=5.0))  # fmt: skip
    write(run, "v-2", done("a", 1), done(FINALIZE, 1), Event("closed", 1, block="1"))
    write_snapshot(run)
    return run


def test_people_find_one_row_a_shard(run):
    rows = pq.read_table(snapshot_path(run)).to_pylist()
    assert [row["shard"] for row in rows] == IDS
    first = rows[0]
    assert (first["status"], first["attempt"], first["worker"]) == ("done", 2, "w-1")
    assert first["ended_at"] == 2.123456789
    assert first["outputs"] == [
        {"path": "a.tar", "size_bytes": 2, "checksum": "x:y", "num_samples": None}
    ]
    assert dict(first["stats"]) == {"n": 2.0, "share": 2 / 3}
    assert first["bytes_out"] == 2
    bad = rows[1]
    assert (bad["status"], bad["error_class"], bad["error"]) == ("quarantined", "KeyError", "bad")
    assert (bad["worker"], bad["host"], bad["attempt"]) == ("w-1", "n7", 1)
    assert rows[2]["status"] == "pending"
    assert rows[2]["attempt"] is None
    worker, _, line = rows[2]["events"].partition("\t")
    assert (worker, json.loads(line)["event"]) == ("v-2", "closed")


def test_a_shard_that_was_added_while_journals_were_read_has_its_own_row(run):
    plan = Plan(run.path, BLOCK_SIZE)
    write_plan(run.path / "plan-0002.jsonl", [Shard("later")])
    write(run, "w-1", done("later", 3))
    write_snapshot(run, plan)
    row = pq.read_table(snapshot_path(run)).to_pylist()[-1]
    assert (row["shard"], row["attempt"], row["ended_at"]) == ("later", 3, 3.123456789)
    assert row["outputs"][0]["path"] == "later.tar"


def test_a_truncated_damaged_or_foreign_one_is_passed_over(run, tmp_path, caplog):
    path = snapshot_path(run)
    whole = path.read_bytes()
    expected = view(run, use_snapshot=False)
    other = make_run(tmp_path / "other", name="other")
    write_snapshot(other)
    middle = len(whole) // 2
    for data in (
        b"",
        b"junk",
        whole[:-10],
        whole[:100] + bytes(200) + whole[300:],
        whole[:middle] + b"\x00\xff\x00\xff" + whole[middle + 4 :],
        snapshot_path(other).read_bytes(),
    ):
        caplog.clear()
        path.write_bytes(data)
        assert view(run, use_snapshot=True) == expected
        assert "the journals are read anew" in caplog.text
    path.unlink()
    assert view(run, use_snapshot=True) == expected


def test_that_of_a_run_directory_that_was_moved_is_used(run, tmp_path):
    data = (run.path / "run.json").read_text()
    (run.path / "run.json").write_text(data.replace('"/out"', '"out"'))
    moved = RunDir(run.path)
    write_snapshot(moved)
    run.path.rename(tmp_path / "moved")
    moved = RunDir(tmp_path / "moved")
    plan = Plan(moved.path, BLOCK_SIZE)
    assert read_snapshot(moved, plan, STATE_COLUMNS, even_small=True) is not None


def test_one_that_is_ahead_of_a_journal_is_passed_over(run, caplog):
    path = run.journal / "v-2.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert not view(run, use_snapshot=True)["used"]
    assert "ahead of journal v-2.jsonl" in caplog.text
    path.unlink()
    assert not view(run, use_snapshot=True)["used"]


def test_one_of_another_version_is_passed_over_and_replaced(run, monkeypatch, caplog):
    monkeypatch.setattr(snapshots, "FORMAT_VERSION", 99)
    assert not view(run, use_snapshot=True)["used"]
    assert "format version 1" in caplog.text


def test_small_ones_are_left_alone_and_no_temporary_file_stays(run):
    assert read_snapshot(run, Plan(run.path, BLOCK_SIZE), STATE_COLUMNS) is None
    assert [path.name for path in run.path.glob(".*")] == []


def test_a_state_that_has_begun_is_not_restored(run):
    state = RunState(Plan(run.path, BLOCK_SIZE), 1, 1)
    state.apply([done("a", 1)])
    with pytest.raises(ValueError, match="begun"):
        state.restore(state.attempts())
