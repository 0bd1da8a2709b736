"""How the trainer behaves around the arithmetic: bits, memory, threads, refusals, unusual shapes."""

import gc
import threading
import warnings
import weakref

import numpy as np
import pytest
import scipy.sparse
from numba.core import event
from reference.naive_engine import NaiveTrainer
from threadpoolctl import threadpool_info

from fastopt import SGD, Adam, AdamW, MLPClassifier
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu import batch_runner

CLASSES = {"activation": "relu", "out_activation": "softmax", "loss": "log_loss"}


def problem(sizes, n=200, dtype=np.float32, seed=0):
    rs = np.random.RandomState(seed)
    layout = Layout(sizes)
    params = np.zeros(layout.size, dtype)
    for array in layout.weights(params) + layout.biases(params):
        array[...] = rs.uniform(-1, 1, array.shape) / np.sqrt(array.shape[0] + 1)
    X = rs.standard_normal((n, sizes[0])).astype(dtype)
    Y = np.eye(sizes[-1], dtype=dtype)[rs.randint(sizes[-1], size=n)]
    return layout, params, X, Y


def trained(layout, params, X, Y, optimizer=None, epochs=2, n_threads=None, **options):
    """Return what two epochs make of a copy of ``params``, with the losses and the optimizer's state."""
    mine = params.copy()
    trainer = Trainer(layout, dtype=params.dtype, n_threads=n_threads, **CLASSES)
    update = (optimizer or Adam(lr=0.01)).flat(layout.size, layout.n_decay, params.dtype)
    settings = {"batch_size": 32, "alpha": 0.01} | options
    losses = [trainer.train(mine, X, Y, update, **settings) for _ in range(epochs)]
    return mine, losses, update


def assert_same_bits(first, second):
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    np.testing.assert_array_equal(first[2].state, second[2].state)
    assert first[2].t == second[2].t


@pytest.mark.parametrize("sizes", [[10, 32, 16, 3], [70, 260, 130, 4]])
def test_bits_do_not_depend_on_how_often_the_engine_looks_for_ctrl_c(sizes, monkeypatch):
    case = problem(sizes)
    expected = trained(*case)
    monkeypatch.setattr(batch_runner, "_SLICE_FLOPS", 1)
    assert_same_bits(trained(*case), expected)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_bits_do_not_depend_on_whether_a_batch_counts_as_long(n_threads, monkeypatch):
    case = problem([70, 260, 130, 4])
    expected = trained(*case)
    monkeypatch.setattr(batch_runner, "_LONG_FLOPS", 0)
    assert_same_bits(trained(*case, n_threads=n_threads), expected)


@pytest.mark.parametrize("sizes", [[3, 5, 2], [33, 17, 5, 3]])
def test_padding_is_neither_read_nor_written(sizes):
    layout, params, X, Y = problem(sizes)
    used = np.zeros(layout.size)
    for view in layout.weights(used) + layout.biases(used):
        view[...] = 1
    clean = trained(layout, params, X, Y, AdamW(lr=0.01))
    params[used == 0] = np.nan
    dirty = trained(layout, params, X, Y, AdamW(lr=0.01))
    np.testing.assert_array_equal(dirty[0][used == 1], clean[0][used == 1])
    assert np.isnan(dirty[0][used == 0]).all()
    assert dirty[1] == clean[1]


def test_the_gradients_padding_is_zero():
    layout, params, X, Y = problem([3, 5, 2])
    into = np.full_like(params, 7)
    _, gradient = Trainer(layout, dtype=np.float32, **CLASSES).loss_and_gradient(
        params, X, Y, alpha=0.1, out=into
    )
    assert gradient is into
    covered = np.zeros(layout.size)
    for view in layout.weights(covered) + layout.biases(covered):
        view[...] = 1
    assert (gradient[covered == 0] == 0).all()


def test_inputs_are_only_read():
    layout, params, X, Y = problem([10, 8, 3])
    order, weight = np.random.RandomState(0).permutation(200), np.ones(200, np.float32)
    for array in (X, Y, order, weight):
        array.flags.writeable = False
    before = [array.copy() for array in (X, Y, order, weight)]
    trained(layout, params, X, Y, order=order, sample_weight=weight)
    for array, copy in zip((X, Y, order, weight), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("X", lambda a: a["X"][:, ::-1]),
        ("X", lambda a: np.asfortranarray(a["X"])),
        ("X", lambda a: a["X"].astype(np.float64)),
        ("X", lambda a: a["X"][:, :-1].copy()),
        ("X", lambda a: scipy.sparse.csr_array(a["X"].astype(np.float64))),
        ("X", lambda a: scipy.sparse.csr_array(a["X"][:, 1:])),
        ("Y", lambda a: a["Y"][::2]),
        ("Y", lambda a: a["Y"][:, :2].copy()),
        ("Y", lambda a: a["Y"].astype(int)),
        ("params", lambda a: a["params"][:-1]),
        ("params", lambda a: a["params"].astype(np.float64)),
        ("order", lambda a: np.arange(200, dtype=np.int32)),
        ("sample_weight", lambda a: np.ones(199, np.float32)),
        ("sample_weight", lambda a: np.ones(200)),
    ],
)
def test_arrays_that_the_engine_would_misread_are_refused_by_name(name, spoil):
    layout, params, X, Y = problem([10, 8, 3])
    arrays = {"params": params, "X": X, "Y": Y, "order": None, "sample_weight": None}
    arrays[name] = spoil(arrays)
    update = Adam().flat(layout.size, layout.n_decay, np.float32)
    before = params.copy()
    with pytest.raises(ValueError, match=f"^{name} "):
        Trainer(layout, dtype=np.float32, **CLASSES).train(
            arrays["params"], arrays["X"], arrays["Y"], update, batch_size=32, alpha=0.0,
            order=arrays["order"], sample_weight=arrays["sample_weight"],
        )  # fmt: skip
    np.testing.assert_array_equal(params, before)
    assert update.t == 0


def spoiled(name, value, form=scipy.sparse.csr_array):
    """Return a sparse matrix of shape (3, 3), one array of which does not fit the others."""
    X = form(np.eye(3, dtype=np.float32))
    setattr(X, name, value(getattr(X, name)))
    return X


SPOILED = [
    ("indices", lambda a: a + 1, "indices reach from 1 to 3, outside 0 to 2"),
    ("indices", lambda a: a - 1, "indices reach from -1 to 1, outside 0 to 2"),
    ("indices", lambda a: a[:2], "rising from 0 to at most 2"),
    ("indptr", lambda a: a + 1, "rising from 0 to at most 3"),
    ("indptr", lambda a: a[[0, 2, 1, 3]], "rising from 0 to at most 3"),
    ("indptr", lambda a: a[:3], "must be 4 numbers"),
    ("data", lambda a: a[:2], "rising from 0 to at most 2"),
]


@pytest.mark.parametrize(("name", "value", "message"), SPOILED)
def test_sparse_arrays_that_contradict_each_other_are_refused_in_every_mode(name, value, message):
    layout, params, _, _ = problem([3, 4, 3])
    X, Y = spoiled(name, value), np.eye(3, dtype=np.float32)
    trainer, update = Trainer(layout, dtype=np.float32, **CLASSES), Adam().flat(layout.size, 0, np.float32)
    for use in (
        lambda: trainer.train(params, X, Y, update, batch_size=2, alpha=0.0),
        lambda: trainer.predict(params, X),
        lambda: trainer.loss_and_gradient(params, X, Y, alpha=0.0),
    ):
        with pytest.raises(ValueError, match=message):
            use()


@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.csc_array])
def test_an_estimator_refuses_them_before_scipy_takes_rows_or_converts(form):
    X = spoiled("indices", lambda a: a + 1, form)
    with pytest.raises(ValueError, match=f"{X.format.upper()} matrix .* indices reach from 1 to 3"):
        MLPClassifier((4,)).fit(X, [0, 1, 0])


@pytest.mark.parametrize("order", [[0, 1, 200], [-1, 0, 1]])
def test_rows_that_x_does_not_have_are_refused(order):
    layout, params, X, Y = problem([10, 8, 3])
    trainer, update = Trainer(layout, dtype=np.float32, **CLASSES), Adam().flat(layout.size, 0, np.float32)
    with pytest.raises(ValueError, match="but X has 200, numbered from 0"):
        trainer.train(params, X, Y, update, batch_size=32, alpha=0.0, order=np.array(order))


@pytest.mark.parametrize("sizes", [[1, 2], [1, 1, 1, 2], [1, 300, 2], [3, 1, 1500, 2], [900, 1, 2]])
@pytest.mark.parametrize("n", [1, 5])
def test_narrow_and_wide_layers_train_like_the_naive_engine(sizes, n):
    layout, params, X, Y = problem(sizes, n, np.float64)
    mine, losses, _ = trained(layout, params, X, Y, SGD(lr=0.1))
    theirs, update = params.copy(), SGD(lr=0.1).flat(layout.size, layout.n_decay, np.float64)
    naive = NaiveTrainer(layout, dtype=np.float64, **CLASSES)
    expected = [naive.train(theirs, X, Y, update, batch_size=32, alpha=0.01) for _ in range(2)]
    # Rounding of sums of at most 1500 terms in float64.
    np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


@pytest.mark.parametrize("dense", [True, False])
def test_rows_without_any_non_zero_input_train_the_biases_only(dense):
    layout, params, X, Y = problem([100, 3])
    X = np.zeros_like(X)
    mine, _, _ = trained(layout, params, X if dense else scipy.sparse.csr_array(X), Y, SGD(lr=0.1), alpha=0.0)
    np.testing.assert_array_equal(mine[: layout.n_decay], params[: layout.n_decay])
    assert (layout.biases(mine)[0] != layout.biases(params)[0]).any()


def test_a_csr_matrix_whose_columns_are_unsorted_or_repeated_is_read_as_it_means():
    layout, params, _, Y = problem([6, 4, 3], n=2, dtype=np.float64)
    indices = np.array([5, 0, 0, 3, 1], np.int32)
    messy = scipy.sparse.csr_array(
        (np.array([1.0, 2.0, 3.0, -1.0, 0.0]), indices, np.array([0, 3, 5], np.int32)), shape=(2, 6)
    )
    trainer = Trainer(layout, dtype=np.float64, **CLASSES)
    plain = trainer.loss_and_gradient(params, messy.toarray(), Y, alpha=0.0)
    listed = trainer.loss_and_gradient(params, messy, Y, alpha=0.0)
    assert listed[0] == pytest.approx(plain[0], rel=1e-14)
    np.testing.assert_allclose(listed[1], plain[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
def test_one_bad_input_spoils_its_own_prediction_only(kind, value):
    layout, params, X, _ = problem([70, 8, 3])
    if kind != "dense":
        X[np.random.RandomState(1).uniform(size=X.shape) > 0.1] = 0
    trainer = Trainer(layout, dtype=np.float32, **(CLASSES | {"activation": "identity"}))
    read = scipy.sparse.csr_array if kind == "csr" else np.ascontiguousarray
    good = trainer.predict(params, read(X))
    X[77, 5] = value
    bad = trainer.predict(params, read(X))
    assert not np.isfinite(bad[77]).all()
    others = np.arange(200) != 77
    np.testing.assert_array_equal(bad[others], good[others])


def test_an_empty_prediction_has_no_rows():
    layout, params, X, _ = problem([10, 8, 3])
    assert Trainer(layout, dtype=np.float32, **CLASSES).predict(params, X[:0]).shape == (0, 3)


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_a_trainer_keeps_no_data_alive_after_a_prediction(kind):
    layout, params, X, _ = problem([10, 8, 3])
    X = X if kind == "dense" else scipy.sparse.csr_array(X)
    trainer = Trainer(layout, dtype=np.float32, **CLASSES)
    trainer.predict(params, X)
    alive = weakref.ref(X if kind == "dense" else X.data)
    del X
    gc.collect()
    assert alive() is None


def test_training_on_no_rows_is_refused():
    layout, params, X, Y = problem([10, 8, 3])
    with pytest.raises(ValueError, match="no rows"):
        trained(layout, params, X[:0], Y[:0])


def test_two_python_threads_train_at_once_without_disturbing_each_other():
    cases = [problem([70, 260, 130, 4], n=600, seed=seed) for seed in (1, 2)]
    alone = [trained(*case, epochs=4) for case in cases]
    together = [None, None]

    def train(i):
        together[i] = trained(*cases[i], epochs=4)

    workers = [threading.Thread(target=train, args=(i,)) for i in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for mine, expected in zip(together, alone, strict=True):
        assert_same_bits(mine, expected)


def test_blas_has_its_threads_back_after_training():
    def numbers():
        return [(library["filepath"], library["num_threads"]) for library in threadpool_info()]

    case = problem([70, 260, 130, 4])
    trained(*case)  # by now every library is loaded
    before = numbers()
    trained(*case)
    assert numbers() == before


@pytest.mark.parametrize("n_threads", [0, -1, 10_000, True])
def test_impossible_numbers_of_threads_are_refused(n_threads):
    with pytest.raises(ValueError, match=f"n_threads={n_threads}"):
        Trainer(Layout([2, 2]), dtype=np.float32, n_threads=n_threads, **CLASSES)


def test_one_compiled_engine_serves_every_depth_width_optimizer_and_type_of_alpha():
    def train_all(all_sizes):
        for sizes in all_sizes:
            for optimizer in (SGD(lr=0.1), Adam(), AdamW()):
                for alpha in (0, 1, 0.5, np.float32(0.5)):
                    trained(*problem(sizes, n=20), optimizer, epochs=1, alpha=alpha, n_threads=1)

    train_all([[4, 3]])
    with event.install_recorder("numba:run_pass") as compiled:
        train_all([[4, 9, 3], [4, 8, 7, 6, 3]])
    assert not compiled.buffer


def test_a_diverging_network_raises_no_warning_of_its_own():
    layout, params, X, Y = problem([10, 8, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine, losses, _ = trained(layout, params * 1e30, X, Y, SGD(lr=1e30), epochs=3)
    assert not np.isfinite(losses[-1])
    assert not np.isfinite(mine).all()
