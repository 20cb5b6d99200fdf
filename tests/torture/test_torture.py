"""The short form of the torture test; ``python -m tests.torture`` is the long one."""

import pytest

from tests.torture.torture import new_seed, torture

CHAOS_S = 30.0
NUM_SHARDS = 200


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_whatever_happens_to_the_workers(tmp_path):
    seed = new_seed()
    print(f"seed {seed}, in {tmp_path}")
    outcome = torture(tmp_path / "torture", seed, CHAOS_S, NUM_SHARDS, print)
    print(outcome.figures)
    assert not outcome.violations, "\n".join(outcome.violations)
