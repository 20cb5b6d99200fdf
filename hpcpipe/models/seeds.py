"""Random numbers that belong to a sample: the same in any batch, shard, worker and kind of GPU.

The seed of a sample follows from its key and the run's seed alone. Noise is drawn on the CPU, by a
generator of the sample's own, since GPUs of different kinds draw differently.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

_BITS = 63


def sample_seed(key: str, seed: int) -> int:
    """Give the seed of a sample.

    It is the first 63 bits of the SHA-256 of ``SEED/KEY`` in UTF-8, and stays so for ever: images
    are made again from it.

    Args:
        key: the sample's key.
        seed: the run's seed (``stage.seed``).

    Returns:
        A number from 0 to 2**63 - 1.

    Raises:
        Nothing.
    """
    digest = hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _BITS)


def generators(seeds: Sequence[int]) -> list[Any]:
    """Make one generator on the CPU for each seed.

    Torch's CPU generator takes in the lower 32 bits of a seed: two of a few billion samples may
    start from the same noise.

    Args:
        seeds: what `sample_seed` gave.

    Returns:
        A ``torch.Generator`` for each.

    Raises:
        ImportError: torch is not installed.
    """
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
