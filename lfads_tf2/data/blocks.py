"""Large arrays, whether in a file or in memory, in blocks of trials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

BLOCK_BYTES = 32 * 2**20
# Reading through a compressed HDF5 chunk twice means unpacking it twice, so blocks are widened to whole chunks
# as long as they stay below this.
WIDEST_BLOCK_BYTES = 512 * 2**20


def trial_blocks(values: Any) -> Iterator[tuple[int, np.ndarray]]:
    """First trial and values of one block of trials after the other, so that only a block is in memory.

    Args:
        values: trials first; a dataset of HDF5, an array, or anything with shape and dtype whose trials can be sliced.
    """
    trial_bytes = max(1, np.dtype(values.dtype).itemsize * int(np.prod(values.shape[1:], dtype=np.int64)))
    rows = max(1, BLOCK_BYTES // trial_bytes)
    chunks = getattr(values, "chunks", None)
    in_chunk = getattr(values, "rows_of_chunk", None) or (chunks[0] if chunks else 1)
    whole = -(-rows // in_chunk) * in_chunk
    rows = whole if whole * trial_bytes <= WIDEST_BLOCK_BYTES else rows
    for start in range(0, values.shape[0], rows):
        block = np.asarray(values[start : start + rows])
        # Half precision cannot hold the limits that values are compared with.
        yield start, block.astype(np.float32) if block.dtype == np.float16 else block


def same_content(first: Any, second: Any) -> bool:
    """Whether two arrays of one shape hold the same values (NaN equals NaN); read in blocks."""
    return all(np.array_equal(block, second[start : start + len(block)], True) for start, block in trial_blocks(first))
