from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.summary import Observer
from tests.toys.runs import run_here, toy_config, write_inputs


def test_shards_that_are_added_while_a_run_is_watched_are_seen(tmp_path):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path)
    observer = Observer(RunDir(run_here(config).run_dir), config.run)
    assert observer.summarize().num_shards == 1
    write_inputs(tmp_path, b="two")
    run_here(toy_config(tmp_path, extend=True))
    summary = observer.summarize()
    assert (summary.num_shards, summary.done, summary.state) == (2, 2, "complete")
