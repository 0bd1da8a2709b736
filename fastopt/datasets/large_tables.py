"""A sample of a table that is too large to be loaded, drawn without loading it."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import require

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

#: Share of the machine's memory that a table may take: a study holds copies: as floats, scaled, split.
_SHARE = 1 / 8
#: Bytes of a sample. With 30 columns, a million rows, which say as much of optimizers as all.
_SAMPLE_BYTES = 1 << 28
#: Of a cell with a number, or with text or nested values.
_NUMBER, _TEXT = 8, 64
#: Memory that is assumed where the system does not say.
_UNKNOWN_MEMORY = 8 << 30
_BATCH_ROWS = 1 << 16


def sample(path: Path) -> tuple[pd.DataFrame, str] | None:
    """Return rows drawn at random from a Parquet or Arrow file, and a note, if it is too large to load.

    The draw is the same each time. It reads a part of the file at a time, also where one row group is larger
    than memory.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (DataFrame, str) or None
        In the order of the file. None if the table takes at most an eighth of the machine's memory.
    """
    from ..data.table_files import open_files

    try:
        (file,) = open_files(path)
    except ValueError:  # Feather's first version, which pandas still reads
        return None
    n_rows = sum(file.unit_rows)
    row_bytes = sum(map(_cell_bytes, file.schema.types))
    memory = _memory()
    if n_rows * row_bytes <= memory * _SHARE:
        return None
    n_drawn = min(n_rows, max(1, int(_SAMPLE_BYTES / row_bytes)))
    drawn = np.array(sorted(random.Random(0).sample(range(n_rows), n_drawn)), np.int64)
    frame = _take(file, drawn)
    note = (
        f"Sampled: {n_drawn:,} of {n_rows:,} rows, drawn at random. All would take about "
        f"{n_rows * row_bytes / 2**30:.2g} GB, and a study holds several copies in "
        f"{memory / 2**30:.2g} GB of memory. fastopt.data.BlockSource trains on all rows."
    )
    return frame, note


def _take(file: Any, rows: np.ndarray) -> pd.DataFrame:
    """Return rows of a table file by their sorted numbers."""
    arrow = require("pyarrow", "reading a table", extra="tables")
    parts, first = [], 0
    for batch in file.batches(file.schema.names, _BATCH_ROWS):
        last = first + batch.num_rows
        begin, end = np.searchsorted(rows, (first, last))
        if end > begin:
            parts.append(batch.take(arrow.array(rows[begin:end] - first)))
        first = last
    return arrow.Table.from_batches(parts, file.schema).to_pandas()


def _cell_bytes(kind: Any) -> int:
    """Return about how many bytes a study takes for a value of a pyarrow type; numbers become float64."""
    try:
        return _NUMBER if kind.bit_width <= 8 * _NUMBER else _TEXT
    except ValueError:  # of any length
        return _TEXT


def _memory() -> int:
    """Return the bytes of memory of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return _UNKNOWN_MEMORY
