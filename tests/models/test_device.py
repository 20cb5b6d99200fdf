"""Devices: made ready, or refused in words. There is no GPU here, so CUDA's answers are fakes."""

import pytest
import torch

from hpcpipe.errors import ConfigError, SetupError
from hpcpipe.models.device import check_dtype, gpu_failures, open_device


@pytest.fixture(autouse=True)
def _threads_as_before():
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_cpu_is_ready_in_every_type_and_has_the_threads_asked_for(dtype):
    assert open_device("cpu", dtype, num_threads=1) == torch.device("cpu")
    assert torch.get_num_threads() == 1


def test_an_unknown_type_is_a_mistake_in_the_command():
    with pytest.raises(ConfigError, match=r"stage\.dtype=fp16: must be one of bfloat16, float16"):
        check_dtype("fp16")


def test_a_type_that_the_device_cannot_use_is_named(monkeypatch):
    def cannot(*args, **kwargs):
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'\nmore of it")

    monkeypatch.setattr(torch.nn.functional, "conv2d", cannot)
    with pytest.raises(SetupError, match=r"the CPU cannot calculate in float16: .*'Half'\. Take"):
        open_device("cpu", "float16", 1)


def test_no_gpu_is_one_message_that_says_what_to_do():
    with pytest.raises(SetupError, match=r"resources\.gpus=0") as error:
        open_device("cuda", "bfloat16", 1)
    assert f"torch {torch.__version__}" in str(error.value)


def test_an_old_gpu_is_told_to_use_float16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    with pytest.raises(SetupError, match=r"Tesla V100 \(cuda:0\).* 7\.0.*stage\.dtype=float16"):
        open_device("cuda:0", "bfloat16", 1)


@pytest.mark.parametrize("maker", ["CUDA", "HIP"])
def test_a_gpu_that_failed_ends_the_worker_and_is_no_fault_of_the_shard(maker):
    message = rf"cuda:0 failed.*: {maker} error: an illegal memory"
    with pytest.raises(SetupError, match=message), gpu_failures(torch.device("cuda:0")):
        raise RuntimeError(f"{maker} error: an illegal memory access\nCompile with more")
    with pytest.raises(RuntimeError, match="shapes"), gpu_failures(torch.device("cpu")):
        raise RuntimeError("shapes cannot be multiplied")
