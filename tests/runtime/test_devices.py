"""Which GPUs a worker is left with, for every way of saying which there are."""

import os

import pytest

from hpcpipe.errors import SetupError
from hpcpipe.runtime.devices import Place, check, place, show_only, take_share, visible

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
ALONE = Place(0, 1, 0, 1)


@pytest.fixture
def env(monkeypatch, tmp_path):
    """A function that sets the environment; there is no nvidia-smi to ask."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


def local(rank, number):
    return Place(rank, number, rank, number)


def test_unmasked_each_takes_its_own(env):
    seen = []
    for rank in range(4):
        env(CUDA_VISIBLE_DEVICES="0,1,2,3", SLURM_GPUS_ON_NODE="4")
        take_share(1, local(rank, 4))
        seen.append(visible())
        check(1)
    assert seen == [["0"], ["1"], ["2"], ["3"]]


def test_several_gpus_a_worker_are_a_slice(env):
    env(CUDA_VISIBLE_DEVICES="4,5,6,7", SLURM_GPUS_ON_NODE="4")
    take_share(2, local(1, 2))
    assert visible() == ["6", "7"]


@pytest.mark.parametrize("masked", ["3", "0", "GPU-8f2b"])
def test_masked_each_keeps_the_one_it_sees(env, masked):
    env(CUDA_VISIBLE_DEVICES=masked, SLURM_GPUS_ON_NODE="4")
    take_share(1, local(3, 4))
    assert visible() == [masked]
    check(1)


def test_the_only_worker_of_a_node_keeps_all(env):
    env(CUDA_VISIBLE_DEVICES="0,1", SLURM_GPUS_ON_NODE="2")
    take_share(1, ALONE)
    assert visible() == ["0", "1"]


def test_more_workers_than_gpus(env):
    env(CUDA_VISIBLE_DEVICES="0,1", SLURM_GPUS_ON_NODE="2", SLURM_STEP_NUM_TASKS="3")
    env(SLURM_STEP_TASKS_PER_NODE="3", SLURM_LOCALID="2", SLURM_PROCID="2")
    take_share(1, place())
    with pytest.raises(SetupError, match=r"0 are left for worker 3 of 3 on this node"):
        check(1)


def test_without_a_word_from_slurm_the_place_alone_decides(env):
    take_share(2, local(1, 2))
    assert visible() == ["2", "3"]


def test_gpus_are_counted_where_nobody_names_them(env, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g'\necho 'GPU 1: A'\n")
    tool.chmod(0o755)
    take_share(1, local(1, 3))
    assert visible() == ["1"]


def test_only_the_narrower_of_two_lists_is_cut(env):
    # Numbers in the other two count within ROCR's list.
    env(**dict.fromkeys(VARIABLES, "0,1"), SLURM_GPUS_ON_NODE="2")
    take_share(1, local(1, 2))
    assert [os.environ[name] for name in VARIABLES] == ["1", "1", "0,1"]


def test_rocr_alone(env):
    env(ROCR_VISIBLE_DEVICES="0,1", SLURM_GPUS_ON_NODE="2")
    take_share(1, local(1, 2))
    assert visible() == ["1"]


@pytest.mark.parametrize("nothing", ["", "NoDevFiles", "-1"])
def test_no_gpu_at_all(env, nothing):
    env(CUDA_VISIBLE_DEVICES=nothing)
    with pytest.raises(SetupError, match=r"needs 1 GPU \(resources.gpus\) and sees 0 here"):
        check(1)
    check(0)


def test_where_nothing_is_said_the_stage_finds_out(env):
    check(1)
    show_only(["1"])
    check(1)


@pytest.mark.parametrize(
    ("per_node", "node", "expected"), [("4(x2),3", "2", 3), ("4(x2),3", "1", 4), ("2", "0", 2)]
)
def test_the_place_on_uneven_nodes(env, per_node, node, expected):
    env(SLURM_STEP_NUM_TASKS="11", SLURM_STEP_TASKS_PER_NODE=per_node, SLURM_NODEID=node)
    env(SLURM_LOCALID="1", SLURM_PROCID="5")
    assert place() == Place(5, 11, 1, expected)


def test_outside_a_step_a_process_is_alone(env):
    # In the batch script of a job of several tasks.
    env(SLURM_NTASKS="4", SLURM_PROCID="0", SLURM_TASKS_PER_NODE="4")
    assert place() == ALONE
