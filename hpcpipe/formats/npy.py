"""The header of an npy file, for arrays written piece by piece; reading them is numpy's."""

from typing import Any

import numpy as np

HEADER_BYTES = 128


def npy_header(dtype: np.dtype[Any], num_rows: int) -> bytes:
    """Build the header of a one-dimensional array.

    Args:
        dtype: a plain or structured type without objects.
        num_rows: length of the array.

    Returns:
        `HEADER_BYTES` bytes, or a multiple of 64 more for a long dtype; the rows follow.

    Raises:
        Nothing.
    """
    descr = np.lib.format.dtype_to_descr(dtype)
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({num_rows},), }}".encode()
    size_bytes = max(HEADER_BYTES, -(-(len(text) + 11) // 64) * 64)
    text = text.ljust(size_bytes - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
