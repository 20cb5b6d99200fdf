"""What a worker does on a node where shards fail; `tests/slurm/test_bad_nodes.py` has several."""

import pytest

from tests.toys.runs import events_of, run_here, toy_config, write_inputs


@pytest.mark.timeout(60)
def test_where_no_other_node_is_at_work_none_is_waited_for(tmp_path):
    write_inputs(tmp_path, **{f"s{n}": "crash" for n in range(6)})
    limits = {"launcher__exclude_bad_nodes": 2, "run__max_attempts": 1, "run__backoff_s": 100.0}
    run_dir = run_here(toy_config(tmp_path, **limits)).run_dir
    assert len(events_of(run_dir, "failed")) == 6
