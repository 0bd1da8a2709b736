"""Which blocks of a file are read together: a random deal that is spread evenly over the file."""

import numpy as np

#: Blocks that a shuffle buffer should mix at least: a file may be sorted by its target.
MIXED_BLOCKS = 20


def n_buffers(n_rows: int, buffer_rows: int) -> int:
    """Return how many buffers an epoch fills."""
    return max(1, -(-n_rows // buffer_rows))


def deal(blocks: np.ndarray, n_buffers: int, random_state: np.random.RandomState) -> list[np.ndarray]:
    """Deal blocks to buffers at random, one to each buffer out of every ``n_buffers`` neighbours.

    So each buffer is a sample of the file that is stratified by position: of a file that is sorted by class
    or time it holds all classes or times, in nearly the shares that they have in the file.

    Parameters
    ----------
    blocks : ndarray of int64
        Numbers of blocks, in the order of the file.
    n_buffers : int
    random_state : RandomState
        Advanced by one draw for each block.

    Returns
    -------
    list of ndarray of int64
        The blocks of each buffer, in the order of the file. None is empty if there are enough blocks.

    Examples
    --------
    >>> import numpy as np
    >>> [part.tolist() for part in deal(np.arange(6), 2, np.random.RandomState(0))]
    [[0, 3, 4], [1, 2, 5]]
    """
    n_runs = -(-len(blocks) // n_buffers)
    table = np.full((n_runs, n_buffers), -1, np.int64)
    table.flat[: len(blocks)] = blocks
    places = random_state.random_sample(table.shape).argsort(axis=1, kind="stable")
    dealt = np.take_along_axis(table, places, axis=1)
    return [column[column >= 0] for column in dealt.T]


def in_file_order(blocks: np.ndarray, block_rows: np.ndarray, buffer_rows: int) -> list[np.ndarray]:
    """Split blocks into buffers of neighbours, for training without shuffling.

    Parameters
    ----------
    blocks : ndarray of int64
    block_rows : ndarray of int64
        Rows of each of them.
    buffer_rows : int
        The most rows of a buffer, unless one block has more.

    Returns
    -------
    list of ndarray of int64

    Examples
    --------
    >>> import numpy as np
    >>> [part.tolist() for part in in_file_order(np.arange(4), np.array([3, 3, 3, 3]), 7)]
    [[0, 1], [2, 3]]
    """
    parts, first, held = [], 0, 0
    for place, n_rows in enumerate(block_rows.tolist()):
        if held and held + n_rows > buffer_rows:
            parts.append(blocks[first:place])
            first, held = place, 0
        held += n_rows
    return [*parts, blocks[first:]]


def most_rows(block_rows: np.ndarray, n_buffers: int) -> int:
    """Return the most rows that a buffer of any `deal` can hold."""
    padded = np.zeros(-(-len(block_rows) // n_buffers) * n_buffers, np.int64)
    padded[: len(block_rows)] = block_rows
    return int(padded.reshape(-1, n_buffers).max(axis=1).sum())


def spread(n_blocks: int, fraction: float, random_state: np.random.RandomState) -> np.ndarray:
    """Draw a share of the blocks, one out of each stretch of neighbours; return their numbers.

    Parameters
    ----------
    n_blocks : int
    fraction : float
        Share of the blocks, between 0 and 1.
    random_state : RandomState
        Advanced.

    Returns
    -------
    ndarray of int64
        Empty if the share is less than half a block.

    Examples
    --------
    >>> import numpy as np
    >>> spread(10, 0.2, np.random.RandomState(0)).tolist()
    [2, 8]
    """
    n_drawn = round(n_blocks * fraction)
    bounds = np.linspace(0, n_blocks, n_drawn + 1).astype(np.int64)
    return bounds[:-1] + (random_state.random_sample(n_drawn) * np.diff(bounds)).astype(np.int64)
