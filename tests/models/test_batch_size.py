"""Batches that become smaller where memory runs out."""

import gc
import weakref

import pytest
import torch

from hpcpipe.errors import SetupError
from hpcpipe.models.batch_size import BatchSize, is_out_of_memory


def out_of_memory():
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore of it")


def fits(most, seen):
    def function(items):
        seen.append(len(items))
        if len(items) > most:
            raise out_of_memory()
        return [item * item for item in items]

    return function


def test_a_batch_that_does_not_fit_is_halved_and_the_size_remembered():
    seen, told = [], []
    batches = BatchSize(8, "no advice", told.append)
    assert batches.run(range(10), fits(3, seen)) == [n * n for n in range(10)]
    assert seen == [8, 4, 2, 2, 2, 2, 2]
    assert batches.run([5], fits(3, seen)) == [25]
    assert batches.size == 2
    assert told == [
        "memory does not hold a batch of 8: going on with 4",
        "memory does not hold a batch of 4: going on with 2",
    ]


def test_a_short_batch_that_does_not_fit_makes_the_size_smaller_still():
    seen = []
    batches = BatchSize(8, "")
    assert batches.run([1, 2, 3], fits(1, seen)) == [1, 4, 9]
    assert (seen, batches.size) == ([3, 1, 1, 1], 1)


def test_a_short_batch_that_is_filled_up_takes_the_memory_of_a_whole_one():
    seen = []
    batches = BatchSize(8, "", fills_up=True)

    def function(items):
        seen.append((len(items), batches.least))
        if batches.least > 4:
            raise out_of_memory()
        return items

    assert batches.run([1], function) == [1]
    assert seen == [(1, 8), (1, 4)]
    assert (batches.size, BatchSize(8, "").least) == (4, 1)


def test_one_item_that_does_not_fit_says_what_to_do():
    with pytest.raises(SetupError, match=r"batch of one: take a smaller stage\.width \(CUDA out"):
        BatchSize(4, "take a smaller stage.width").run([1, 2], fits(0, []))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError()])
def test_errors_without_a_word_end_it_too(error):
    def function(items):
        raise error from MemoryError()

    with pytest.raises(SetupError, match=rf"batch of one: no advice \({type(error).__name__}\)"):
        BatchSize(2, "no advice").run([1, 2], function)


def test_what_the_failed_batch_held_is_free_for_the_next():
    class Held:
        pass

    alive = []

    def function(items):
        held = Held()
        alive.append((weakref.ref(held), [one() is not None for one, _ in alive]))
        if len(items) > 1:
            raise out_of_memory()
        return items

    gc.disable()
    try:
        BatchSize(2, "").run([1, 2], function)
    finally:
        gc.enable()
    assert alive[1][1] == [False]


def test_other_errors_are_not_taken_for_it():
    def function(items):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    batches = BatchSize(2, "")
    with pytest.raises(RuntimeError, match="illegal"):
        batches.run([1], function)
    assert batches.size == 2


def test_what_torch_says_of_the_machines_memory_is_known():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
