"""Recorded steps: functions of NumPy on a few numbers against the same functions, executed at once."""

import numpy as np
import pytest

from fastopt.stepping.tracing import Cell, TraceError, record

#: Gives another number at each call.
CHANGING = iter(range(9))


class Box:
    """Holds the state of a function under test."""

    def __init__(self, **values):
        self.__dict__.update(values)


def both(function, inputs, **state):
    """Run a function on a box for each input, at once and recorded; return both boxes."""
    plain, recorded = (
        Box(**{k: v.copy() if isinstance(v, np.ndarray) else v for k, v in state.items()}) for _ in range(2)
    )
    for x in inputs:
        function(plain, x)
    cells = [Cell(recorded, name) for name in state]
    program = record(lambda x: function(recorded, x), cells, 1)
    program.load(len(inputs))
    for x in inputs:
        program.run(x)
    program.save()
    return plain, recorded


def same(plain, recorded):
    for name, value in vars(plain).items():
        other = vars(recorded)[name]
        assert np.array_equal(value, other, equal_nan=True), (name, value, other)
        if not isinstance(value, np.ndarray):
            assert not isinstance(other, np.ndarray), name


def arithmetic(box, x):
    a = np.sqrt(np.abs(box.a * x)) + np.maximum(box.a, 1.0 / (1.0 + x))
    box.a = np.where(a > box.b, a % 3.0, -a)
    box.b = np.fmin(box.b + np.sign(x), np.float64(2.5)) - np.floor(x)
    box.total = 0.5 * box.total + a.sum()


def shapes(box, x):
    table = np.stack([box.a, box.a * x, np.full_like(box.a, 2.0)])
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    box.a = np.concatenate([columns[1:], rows[:1]]) / (1.0 + np.abs(table.T[0]).max())
    box.b = np.clip(table[1, -1], -1.0, 1.0) + np.linalg.norm(rows[[2, 0]])
    box.a[0] += rows[1]
    box.a[2:] = box.a[:2] * 0.5


def branches(box, x):
    if x > 0.5 and box.b < 2.0:
        box.b = box.b + 1.0
    elif not box.a.any():
        box.a = box.a + x
    else:
        box.a = box.a * np.array([1.0, 0.5, 0.25, 0.0])
    box.b = max(box.b, 0.25)


def truths(box, x):
    is_large, is_small = np.abs(box.a) > 1.0, box.a * box.a < x
    box.a = box.a + (is_large + is_small) * 0.5 + (is_large & ~is_small) + (is_large | is_small).sum()
    box.b = np.where(is_large.all() | np.isnan(box.a).any(), 1.0, -box.b) * (x >= 0.0)


@pytest.mark.parametrize("function", [arithmetic, shapes, branches, truths], ids=lambda f: f.__name__)
def test_a_recorded_function_computes_what_it_computes_at_once(function):
    inputs = np.random.default_rng(1).standard_normal(12)
    a = np.array([0.3, -1.5, 2.0, 0.0])
    plain, recorded = both(function, inputs, a=a, b=0.5, total=1.0)
    # Only bit-for-bit operations occur, and fewer terms are added up than NumPy adds in pairs.
    same(plain, recorded)


def test_equal_elements_are_one_register_until_they_differ():
    def function(box, x):
        box.t = box.t + 1.0
        box.v = 0.5 * box.v + np.array([1.0, 2.0, 3.0]) * x

    box = Box(t=np.full(3, 4.0), v=np.zeros(3))
    program = record(lambda x: function(box, x), [Cell(box, "t"), Cell(box, "v")], 1)
    program.load(1)
    program.run(2.0)
    program.save()
    assert box.t.tolist() == [5.0] * 3
    assert box.v.tolist() == [2.0, 4.0, 6.0]
    box.t[0] = 7.0
    assert not program.fits()
    with pytest.raises(TraceError, match="no longer"):
        program.load(1)


def test_cells_swap_and_keep_their_types():
    box = Box(a=1, b=2, c=3.0, flag=False, pair=(1.0, 2.0), items={"k": 5.0})

    def function():
        box.a, box.b = box.b, box.a
        box.flag, box.c = box.a > box.b, box.c + box.items["k"]
        box.pair = (box.pair[1], box.pair[0] + 10.0)
        box.items["k"] = box.c * 2.0

    cells = [
        *(Cell(box, name) for name in ("a", "b", "c", "flag")),
        Cell(box, "pair", 0),
        Cell(box, "pair", 1),
    ]
    program = record(function, [*cells, Cell(box.items, "k")])
    assert (box.a, box.b, box.pair, box.items) == (1, 2, (1.0, 2.0), {"k": 5.0})  # recording changes nothing
    program.load(1)
    program.run()
    program.save()
    found = box.a, box.b, box.c, box.flag, box.pair, box.items["k"]
    assert found == (2, 1, 8.0, True, (2.0, 11.0), 16.0)
    assert list(map(type, found)) == [int, int, float, bool, tuple, float]


def test_numbers_of_the_step_come_from_the_host():
    box, seen = Box(step=3, total=0.0), []

    def ahead(n):
        seen.append((box.step, n))
        return np.arange(box.step, box.step + n) ** 2.0

    def function():
        from fastopt.kernels import recording

        box.total = box.total + recording.current().feed("squares", ahead)
        box.step += 1

    program = record(function, [Cell(box, "total"), Cell(box, "step")], 0, Cell(box, "step"))
    for _ in range(2):
        program.load(4)
        program.run()
        program.run()
        program.save()
    assert (box.step, box.total) == (7, 9.0 + 16.0 + 25.0 + 36.0)
    assert seen == [(3, 4), (5, 4)]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: float(x), "needs a number"),
        (lambda x: np.zeros(2).__setitem__(0, x), "needs a number"),
        (lambda x: np.arange(3.0)[x > 0], "needs a number"),
        (lambda x: np.linalg.eigvalsh(np.stack([x, x])), "np.eigvalsh is not recorded"),
        (lambda x: np.arctan(x), "np.arctan"),
        (lambda x: [bool(x > i) for i in range(70)], "more than 256 paths"),
        (lambda x: x > next(CHANGING), "something else when it was recorded again"),
        (lambda x: {}["missing"], "missing"),
    ],
)
def test_what_cannot_be_recorded_says_why(function, reason):
    with pytest.raises(TraceError, match=reason):
        record(lambda x: bool(function(x)), [], 1)
