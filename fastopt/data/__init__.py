"""Rows on disk, read in blocks: training data that are larger than memory."""

from fastopt.data.block_source import BlockSource
from fastopt.data.conversion import to_blocks

__all__ = ["BlockSource", "to_blocks"]
