import pytest

from hpcpipe.errors import PlanError
from hpcpipe.manifest.plan import Plan, write_plan
from hpcpipe.stage import Input, Shard


def shards(*ids: str) -> list[Shard]:
    return [Shard(i, (Input(f"/in/{i}.tar", 10, "1"),), num_bytes=10) for i in ids]


def test_reads_back_what_was_written(tmp_path):
    wanted = [*shards("a", "b/c"), Shard("d", meta={"first": 7, "keys": ["x"]})]
    assert write_plan(tmp_path / "plan.jsonl", wanted) == 3
    plan = Plan(tmp_path, 1)
    assert list(plan.shards()) == wanted
    assert plan.ids == ["a", "b/c", "d"]
    assert list(plan.sizes) == [10, 10, 0]
    assert plan.index("b/c") == 1
    assert plan.index("nope") is None


def test_equal_ids_are_refused(tmp_path):
    with pytest.raises(PlanError, match="two shards of the plan have the id 'a'"):
        write_plan(tmp_path / "plan.jsonl", shards("a", "b", "a"))


@pytest.mark.parametrize(
    "bad", ["", "/a", "../a", "a/../b", "a//b", "a\nb", ".", "@finalize", "a\\b", "x" * 201]
)
def test_ids_that_are_no_file_names_are_refused(tmp_path, bad):
    with pytest.raises(PlanError, match="shard id"):
        write_plan(tmp_path / "plan.jsonl", shards(bad))


def test_something_else_than_a_shard_is_refused(tmp_path):
    with pytest.raises(PlanError, match="must give Shard objects"):
        write_plan(tmp_path / "plan.jsonl", ["a"])


def test_extension_adds_and_replaces(tmp_path):
    write_plan(tmp_path / "plan.jsonl", shards("a", "b", "c"))
    changed = Shard("b", (Input("/in/b.tar", 99, "2"),), num_bytes=99)
    write_plan(tmp_path / "plan-0002.jsonl", [changed, *shards("d")])
    plan = Plan(tmp_path, 1)
    assert plan.ids == ["a", "b", "c", "d"]
    assert plan.shard(1) == changed
    assert plan.sizes[1] == 99
    assert plan.num_blocks == 4


def test_blocks_hold_consecutive_shards_and_never_span_plan_files(tmp_path):
    write_plan(tmp_path / "plan.jsonl", shards(*"abcde"))
    write_plan(tmp_path / "plan-0002.jsonl", shards(*"fgh"))
    plan = Plan(tmp_path, 2)
    assert plan.num_blocks == 5
    assert [list(plan.block(block)) for block in range(5)] == [[0, 1], [2, 3], [4], [5, 6], [7]]
    assert [plan.block_of(index) for index in range(8)] == [0, 0, 1, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("line", [b'{"id":', b'{"id":"\xff"}'])
def test_damage_is_named_with_its_place(tmp_path, line):
    (tmp_path / "plan.jsonl").write_bytes(b'{"id":"a"}\n' + line + b"\n")
    with pytest.raises(PlanError, match=r"plan\.jsonl: damaged at byte 11"):
        Plan(tmp_path, 1)


@pytest.mark.parametrize(
    "bad",
    [
        Shard("a", meta={"model": object()}),
        Shard("a", (Input("/in/caf\udce9.tar", 1),)),
    ],
)
def test_a_shard_that_cannot_be_written_down_is_named(tmp_path, bad):
    with pytest.raises(PlanError, match="shard 'a' cannot be written down"):
        write_plan(tmp_path / "plan.jsonl", [bad])
