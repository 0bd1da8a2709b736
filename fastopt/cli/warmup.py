"""``warmup``: fill the kernel cache, for images and machines where the first fit must not wait."""

from __future__ import annotations

import time


def add_arguments(parser):
    """Add the arguments of ``warmup``; return what runs it."""
    parser.add_argument(
        "--dtypes",
        nargs="+",
        choices=("float32", "float64"),
        default=["float32", "float64"],
        help="types to compile for",
    )
    return _warmup


def _warmup(arguments):
    from ..engine import warmup

    start = time.perf_counter()
    warmup(arguments.dtypes)
    print(f"Kernels for {' and '.join(arguments.dtypes)} are ready ({time.perf_counter() - start:.1f} s).")
