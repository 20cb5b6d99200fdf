import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcpipe.launch.prepare import prepare
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.results import open_state
from hpcpipe.runtime.todo import Todo, part, stripe
from tests.toys.runs import toy_config, write_inputs


def orders(tmp_path, num_workers, **texts):
    """Positions in the plan, in the order each worker goes over them."""
    write_inputs(tmp_path, **texts)
    config = toy_config(tmp_path)
    run = prepare(config)[0]
    state = open_state(run, config)[0]
    launch = Launch(number=1, kind="local", num_workers=num_workers)
    todos = [Todo(run, state, launch, index, config.run) for index in range(num_workers)]
    return [[int(block) for block in todo.blocks()] for todo in todos]


def test_shards_of_one_size_are_gone_over_in_parts_of_neighbours(tmp_path):
    found = orders(tmp_path, 3, **{f"s{n}": "same" for n in range(6)})
    assert found == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 0, 1], [4, 5, 0, 1, 2, 3]]


def test_larger_shards_come_first_and_to_different_workers(tmp_path):
    found = orders(tmp_path, 2, a="1", b="4444", c="333", d="22")
    assert found == [[1, 3, 2, 0], [2, 0, 1, 3]]


@pytest.mark.parametrize("order", [part, stripe])
@given(blocks=st.lists(st.text(), max_size=9, unique=True), num_workers=st.integers(1, 12))
def test_every_worker_goes_over_every_block_once(order, blocks, num_workers):
    found = [order(blocks, index, num_workers) for index in range(num_workers)]
    assert all(sorted(one) == sorted(blocks) for one in found)
    assert len({one[0] for one in found if one}) == min(len(blocks), num_workers)
