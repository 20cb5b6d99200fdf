import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpipe.formats.permutation import Permutation

FIRST_TEN = [2, 6, 9, 1, 4, 3, 5, 7, 0, 8]
FIRST_THREE_OF_MANY = [131450174, 204674080, 99624060]


@given(st.integers(1, 3000), st.integers())
@settings(deadline=None)
def test_every_thing_stands_somewhere_once(num, seed):
    found = Permutation(num, seed)(np.arange(num))
    assert np.array_equal(np.sort(found), np.arange(num, dtype=np.uint64))


def test_parts_agree_with_the_whole_and_seeds_differ():
    whole = Permutation(100_003, 7)(np.arange(100_003))
    assert np.array_equal(Permutation(100_003, 7)(np.array([99_999, 5, 5])), whole[[99_999, 5, 5]])
    assert (Permutation(100_003, 8)(np.arange(100_003)) == whole).sum() < 20


def test_order_never_changes_between_versions():
    assert Permutation(10, 0)(np.arange(10)).tolist() == FIRST_TEN
    assert Permutation(430_000_000, 0)(np.arange(3)).tolist() == FIRST_THREE_OF_MANY


@pytest.mark.parametrize("num", [1000, 4096, 70_000])
def test_order_looks_random(num):
    found = Permutation(num, 3)(np.arange(num)).astype(np.int64)
    assert abs(np.corrcoef(np.arange(num), found)[0, 1]) < 0.1
    first_half_there = (found[: num // 2] < num // 2).mean()
    assert abs(first_half_there - 0.5) < 0.06
    assert (np.diff(found) == 1).sum() < 10
