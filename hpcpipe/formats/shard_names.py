"""Names of shards and keys of samples as img2dataset and any2dataset make them.

A key is the sample's place in the whole dataset, so it sorts and says its shard: with 10,000
samples a shard, sample 345 of shard ``00012`` is ``000120345``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ShardNames:
    """How shards and samples of one dataset are named.

    Attributes:
        samples_per_shard: most samples that one shard has, at least 1.
        shard_digits: digits of a shard's number; larger numbers take more.
    """

    samples_per_shard: int
    shard_digits: int

    @property
    def index_digits(self) -> int:
        """Digits of a sample's index in its shard: log10, rounded up. Raises nothing."""
        return len(str(self.samples_per_shard - 1)) if self.samples_per_shard > 1 else 0

    def shard(self, number: int) -> str:
        """Name a shard.

        Args:
            number: its number, from 0.

        Returns:
            Its name, such as ``00012``.

        Raises:
            Nothing.
        """
        return f"{number:0{self.shard_digits}d}"

    def key(self, number: int, index: int) -> str:
        """Name a sample.

        Args:
            number: its shard's number.
            index: its place among the shard's rows, from 0; below `samples_per_shard`.

        Returns:
            Its key, such as ``000120345``.

        Raises:
            Nothing.
        """
        digits = self.index_digits
        return f"{number * 10**digits + index:0{self.shard_digits + digits}d}"
