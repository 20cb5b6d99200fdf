import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpipe.formats.shard_names import ShardNames


def names(samples_per_shard, shard_digits=5):
    return ShardNames(samples_per_shard=samples_per_shard, shard_digits=shard_digits)


def test_the_example_of_the_documentation():
    assert names(10_000).shard(12) == "00012"
    assert names(10_000).key(12, 345) == "000120345"


@pytest.mark.parametrize(
    ("samples", "digits"), [(1, 0), (2, 1), (10, 1), (11, 2), (1000, 3), (10_000, 4), (10_001, 5)]
)
def test_digits_are_the_logarithm_rounded_up(samples, digits):
    assert names(samples).index_digits == digits == math.ceil(math.log10(samples))


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 8), st.integers(0, 10**5), st.data())
def test_a_key_begins_with_its_shard_and_ends_with_its_index(samples, digits, number, data):
    naming = names(samples, digits)
    index = data.draw(st.integers(0, samples - 1))
    key = naming.key(number, index)
    shard = naming.shard(number)
    assert len(key) == len(shard) + naming.index_digits
    assert key.startswith(shard)
    assert int(key.removeprefix(shard) or 0) == index


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 3))
def test_keys_of_a_dataset_are_unique_and_sorted(samples, digits):
    naming = names(samples, digits)
    keys = [naming.key(number, index) for number in (0, 1, 9) for index in range(samples)]
    assert sorted(set(keys)) == keys
