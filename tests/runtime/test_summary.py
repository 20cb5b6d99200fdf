import msgspec

from hpcpipe.manifest import snapshot
from hpcpipe.manifest.compaction import write_snapshot
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.changes import reset_shards
from hpcpipe.runtime.summary import Observer
from tests.toys.runs import run_here, state_of, toy_config, write_inputs


def test_shards_that_are_added_while_a_run_is_watched_are_seen(tmp_path):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path)
    observer = Observer(RunDir(run_here(config).run_dir), config.run)
    assert observer.summarize().num_shards == 1
    write_inputs(tmp_path, b="two")
    run_here(toy_config(tmp_path, extend=True))
    summary = observer.summarize()
    assert (summary.num_shards, summary.done, summary.state) == (2, 2, "complete")


def figures(run, options):
    """What `status` shows of shards; speeds depend on when it is asked."""
    summary = msgspec.to_builtins(Observer(run, options).summarize())
    return {name: value for name, value in summary.items() if name not in ("recent", "overall")}


def test_a_snapshot_and_what_came_after_it_sum_up_like_the_journals(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one", b="flaky 2", c="bad", d="four", e="x")
    config = toy_config(tmp_path, "final", run__max_failed_fraction=0.5)
    run = RunDir(run_here(config).run_dir)
    reset_shards(run, state_of(run.path, config), ["a", "c"])
    write_inputs(tmp_path, f="late")
    assert run_here(toy_config(tmp_path, "final", extend=True, limit=5)).exit_code != 0
    with_journals = figures(run, config.run)
    monkeypatch.setattr(snapshot, "WORTH_BYTES", 0)
    with_snapshot = figures(run, config.run)
    assert with_snapshot == with_journals
    assert with_snapshot["failures"]
    plan = Plan(run.path, run.info.block_size)
    write_snapshot(run, plan, config.run.max_attempts, config.run.max_lost)
    assert figures(run, config.run) == with_journals
