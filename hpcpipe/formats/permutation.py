"""A random order of N things that is computed, not stored.

Source: a Feistel network over the next larger power of four, with cycle walking: J. Black and
P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002. The round function is the
finalizer of MurmurHash3 (A. Appleby). It is no cipher: nobody is to be kept from guessing it.
"""

import hashlib

import numpy as np
import numpy.typing as npt

_ROUNDS = 6

U64 = npt.NDArray[np.uint64]


class Permutation:
    """A bijection of 0..N-1 chosen by a seed; the same on every machine.

    Attributes:
        num: N.
    """

    def __init__(self, num: int, seed: int) -> None:
        """Choose the order.

        Args:
            num: how many things, at least 1.
            seed: any integer.

        Raises:
            Nothing.
        """
        self.num = num
        self._half = np.uint64(max(1, -(-(num - 1).bit_length() // 2)))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        digest = hashlib.shake_256(f"{seed}".encode()).digest(8 * _ROUNDS)
        self._keys = np.frombuffer(digest, "<u8").astype(np.uint64)

    def __call__(self, positions: npt.NDArray[np.integer]) -> U64:
        """Tell what stands at some positions.

        Args:
            positions: integers (M,) from 0 to N-1.

        Returns:
            uint64 (M,): which thing stands there.

        Raises:
            Nothing.
        """
        found = self._encrypt(positions.astype(np.uint64))
        outside = np.flatnonzero(found >= self.num)
        while len(outside):
            found[outside] = self._encrypt(found[outside])
            outside = outside[found[outside] >= self.num]
        return found

    def _encrypt(self, values: U64) -> U64:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half) | right


def _mix(values: U64) -> U64:
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))
