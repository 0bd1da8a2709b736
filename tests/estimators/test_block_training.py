"""Training on rows that are read from disk, held to the same training on arrays in memory."""

import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight

from fastopt import (
    EMA,
    AdamW,
    MLPClassifier,
    MLPRegressor,
    MultiSteps,
    ScheduleFreeAdamW,
    TabularMLPClassifier,
)
from fastopt.data import BlockSource
from fastopt.engine import Trainer
from fastopt.neural_network import block_buffers, block_input, block_training
from fastopt.schedules import cosine

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RS = np.random.RandomState(0)
X = RS.standard_normal((2000, 6)).astype(np.float32)
CODES = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
WEIGHT = RS.randint(0, 4, 2000).astype(float)
TARGETS = {
    "binary": (MLPClassifier, CODES > 0),
    "strings": (MLPClassifier, np.array(["b", "c", "a"])[CODES]),
    "labels": (MLPClassifier, (X[:, :3] > 0.3).astype(int)),
    "one class": (MLPClassifier, np.zeros(2000, int)),
    "number": (MLPRegressor, X[:, 0] ** 2),
    "numbers": (MLPRegressor, X[:, :3] ** 2),
}


def source(y=CODES, data=X, **settings):
    """Return rows in 5 buffers or more, with blocks, buffers and batches of sizes that do not divide."""
    return BlockSource(data, y, **{"block_rows": 37, "buffer_rows": 430} | settings)


def network(cls=MLPClassifier, **params):
    return cls(**{"hidden_layer_sizes": (9, 5), "random_state": 0, "max_iter": 3, "batch_size": 50} | params)


def assert_same(one, other):
    np.testing.assert_array_equal(one._params, other._params)
    # The losses of the buffers are added up one after another: 40 batches, each sum rounded to 2**-53.
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-14)
    assert one.t_ == other.t_


@pytest.mark.parametrize("kind", TARGETS)
def test_in_file_order_it_is_training_in_memory(kind):
    """Without shuffling the rows of a batch are known, so an array in memory gives the same bits."""
    cls, y = TARGETS[kind]
    assert_same(network(cls, shuffle=False).fit(X, y), network(cls, shuffle=False).fit(source(y)))


@pytest.mark.parametrize(
    "params",
    [
        {"batch_size": 64, "solver": AdamW(lr=cosine(0.01))},
        {"dropout": 0.3, "label_smoothing": 0.1},
        {"solver": EMA(AdamW(), decay=0.9)},
        {"solver": MultiSteps(AdamW(), 3), "batch_size": 64},
        {"solver": ScheduleFreeAdamW()},
        {"solver": "sgd", "learning_rate": "invscaling", "clip_norm": 1.0},
        {"solver": "lamb", "batch_size": 500},  # larger than a buffer
        {"hidden_layer_sizes": (), "alpha": 1.0},
        {"class_weight": "balanced"},
        {"class_weight": {0: 1, 1: 3, 2: 0}},
    ],
    ids=str,
)
def test_every_feature_of_the_loop_is_that_of_training_in_memory(params):
    one, other = (network(shuffle=False, **params) for _ in range(2))
    assert_same(one.fit(X, CODES), other.fit(source()))


@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_weights_are_those_of_training_in_memory(scale):
    one = network(shuffle=False).fit(X, CODES, WEIGHT * scale)
    assert_same(one, network(shuffle=False).fit(source(sample_weight=WEIGHT * scale)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_networks_have_the_dtype_of_the_source(dtype):
    data = X.astype(dtype)
    fitted = network(shuffle=False).fit(source(data=data))
    assert fitted.coefs_[0].dtype == dtype
    assert_same(fitted, network(shuffle=False).fit(data, CODES))
    again = network(shuffle=False).fit(source(dtype="float32"))
    assert again.coefs_[0].dtype == np.float32


@pytest.fixture
def visits(monkeypatch):
    """Return a list of what is trained on: X, targets and weights of each call of the engine."""
    made, train = [], Trainer.train

    def record(self, params, rows, targets, update, *, order=None, sample_weight=None, **options):
        where = np.arange(len(rows)) if order is None else order
        weight = None if sample_weight is None else sample_weight[where]
        made.append((rows[where], targets[where], weight))
        return train(self, params, rows, targets, update, order=order, sample_weight=sample_weight, **options)

    monkeypatch.setattr(Trainer, "train", record)
    return made


def test_shuffled_it_is_training_in_memory_in_that_order(visits):
    """The rows in the order in which they were visited, in memory and in one call, give the same bits."""
    fitted = network(max_iter=1, dropout=0.2).fit(source(sample_weight=WEIGHT))
    rows, targets, weights = (np.concatenate(part) for part in zip(*visits, strict=True))
    assert sorted(map(tuple, rows)) == sorted(map(tuple, X))
    assert len(visits) == 5
    in_memory = network(max_iter=1, dropout=0.2, shuffle=False)
    in_memory.fit(rows, targets.argmax(axis=1), weights)
    assert_same(fitted, in_memory)


def test_each_epoch_has_another_order_and_whole_batches(visits):
    network(max_iter=2).fit(source())
    first, second = (np.concatenate([rows for rows, _, _ in part]) for part in (visits[:5], visits[5:]))
    assert sorted(map(tuple, first)) == sorted(map(tuple, second))
    assert not np.array_equal(first, second)
    assert all(len(rows) % 50 == 0 for rows, _, _ in visits)


def test_a_buffer_of_a_sorted_file_has_all_classes_in_their_shares(visits):
    """2000 rows of 3 classes, in blocks of 10: each buffer of 40 blocks gets its share of every stretch."""
    order = np.argsort(CODES, kind="stable")
    network(max_iter=1).fit(BlockSource(X[order], CODES[order], block_rows=10, buffer_rows=400))
    shares = np.bincount(CODES) / len(CODES)
    for _, targets, _ in visits:
        # A class border lies in one stretch, so a class is off by 10 rows there, and by those carried over.
        assert np.abs(targets.mean(axis=0) - shares).max() < 0.05


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    wide = {"hidden_layer_sizes": (64, 64), "batch_size": 500, "max_iter": 2}  # is worth two threads
    fitted = [network(n_jobs=n, **wide).fit(source()) for n in (1, 2, 1)]
    assert_same(fitted[0], fitted[1])
    assert_same(fitted[0], fitted[2])
    other = network(random_state=1, **wide).fit(source())
    assert not np.array_equal(other._params, fitted[0]._params)


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_the_next_buffer_is_read_while_the_network_trains(n_epochs, monkeypatch):
    """Training on each buffer but the last waits until the next has been read, at the end of an epoch too."""
    source_of_5, n_buffers, read, buffers = source(), 5 * n_epochs, [], []
    train, read_block, fill = Trainer.train, BlockSource.read_block, block_buffers.Buffer.fill

    def counted(self, block, out):
        read.append(threading.current_thread())
        return read_block(self, block, out)

    def filled(self, *arguments):
        buffers.append(threading.Event())
        fill(self, *arguments)
        buffers[-1].set()

    def waiting(self, *arguments, **options):
        waiting.n += 1
        deadline = time.monotonic() + 20
        while waiting.n < n_buffers and not (len(buffers) > waiting.n and buffers[waiting.n].is_set()):
            assert time.monotonic() < deadline, "nobody reads while the network trains"
            time.sleep(0.001)
        return train(self, *arguments, **options)

    waiting.n = 0
    monkeypatch.setattr(BlockSource, "read_block", counted)
    monkeypatch.setattr(block_buffers.Buffer, "fill", filled)
    monkeypatch.setattr(Trainer, "train", waiting)
    network(max_iter=n_epochs, dropout=0.1).fit(source_of_5)
    assert waiting.n == len(buffers) == n_buffers
    assert len(read) == source_of_5.n_blocks * n_epochs  # each block once
    assert len(set(read)) == 1
    assert read[0] is not threading.current_thread()
    assert not read[0].is_alive()  # it ends with the fit


def test_memory_is_that_of_two_buffers(tmp_path):
    """40 MB of rows: beside two buffers of 2 MB and their targets there is a block of rows at most."""
    rows = np.random.RandomState(0).standard_normal((100_000, 100)).astype(np.float32)
    np.save(tmp_path / "X.npy", rows)
    np.save(tmp_path / "y.npy", rows[:, 0] > 0)
    del rows
    network(max_iter=1, batch_size=1000).fit(source(data=X))  # loads the compiled code
    tracemalloc.start()
    try:
        large = BlockSource(tmp_path / "X.npy", tmp_path / "y.npy", buffer_rows=5000)
        network(max_iter=1, batch_size=1000).fit(large)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6


def test_a_draw_between_epochs_costs_what_was_read_ahead_and_nothing_else(visits, monkeypatch):
    """A callback that draws from the generator of the fit: the epoch has the rows of its own draw."""
    pytest.importorskip("sklearn.callback")  # from version 1.9 on
    from fastopt.callbacks import LearningRateLog

    class Draws(LearningRateLog):
        def on_fit_task_end(self, *arguments, **options):
            generator.random_sample()
            return super().on_fit_task_end(*arguments, **options)

    fills, fill = [], block_buffers.Buffer.fill
    monkeypatch.setattr(block_buffers.Buffer, "fill", lambda *arguments: fills.append(fill(*arguments)))
    generator = np.random.RandomState(0)
    network(max_iter=3, random_state=generator).set_callbacks(Draws()).fit(source())
    rows = np.concatenate([X for X, _, _ in visits])
    assert len(fills) == 3 * 5 + 2
    for epoch in np.split(rows, 3):
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(X, axis=0))


def test_partial_fit_goes_on_epoch_by_epoch():
    streamed, fitted = network(shuffle=False), network(shuffle=False, max_iter=3, tol=0).fit(source())
    for _ in range(3):
        streamed.partial_fit(source(), classes=[0, 1, 2])
    assert_same(streamed, fitted)
    streamed.partial_fit(X[:100], CODES[:100])
    assert streamed.t_ == fitted.t_ + 100
    regressor = network(MLPRegressor, shuffle=False)
    assert_same(
        regressor.partial_fit(source(X[:, 0])),
        network(MLPRegressor, shuffle=False, max_iter=1).fit(X, X[:, 0]),
    )
    with pytest.raises(ValueError, match=r"has labels that y has not|has classes"):
        network().partial_fit(source(), classes=[0, 1])


def test_warm_start_goes_on(visits):
    one, other = network(shuffle=False, warm_start=True), network(shuffle=False, warm_start=True)
    for _ in range(2):
        one.fit(X, CODES)
        other.fit(source())
    assert_same(one, other)
    with pytest.raises(ValueError, match="warm_start"):
        other.fit(source(CODES > 0))


def test_held_out_blocks_are_measured_as_rows_in_memory(monkeypatch):
    params = {"early_stopping": True, "validation_fraction": 0.25, "max_iter": 6, "n_iter_no_change": 2}
    blocks = []
    original = block_training.BlockTraining.hold_out

    def hold_out(self, rows):
        blocks.append(rows)
        original(self, rows)

    monkeypatch.setattr(block_training.BlockTraining, "hold_out", hold_out)
    fitted = network(**params).fit(source(sample_weight=WEIGHT))
    (held_out,) = blocks
    assert len(held_out) == round(55 * 0.25)  # of 2000 rows in blocks of 37
    rows = np.concatenate([np.arange(37 * b, min(37 * b + 37, 2000)) for b in held_out])
    best = np.argmax(fitted.validation_scores_)
    score = np.average(fitted.predict(X[rows]) == CODES[rows], weights=WEIGHT[rows])
    np.testing.assert_allclose(fitted.validation_scores_[best], score, rtol=1e-12)
    log_p = np.log(fitted.predict_proba(X[rows])[np.arange(len(rows)), CODES[rows]])
    loss = -np.average(log_p, weights=WEIGHT[rows])
    # Outputs of float32, averaged over 500 rows by the engine in blocks.
    np.testing.assert_allclose(fitted.validation_loss_curve_[best], loss, rtol=1e-5)
    assert fitted.t_ == fitted.n_iter_ * (2000 - len(rows))


def test_a_validation_set_in_memory():
    given = {"X_val": X[:300], "y_val": CODES[:300]}
    one, other = (network(shuffle=False, early_stopping=True, scoring="balanced_accuracy") for _ in range(2))
    one.fit(X, CODES, **given)
    other.fit(source(), **given)
    assert_same(one, other)
    assert one.validation_scores_ == other.validation_scores_


def test_callbacks_see_each_epoch():
    pytest.importorskip("sklearn.callback")  # from version 1.9 on
    from fastopt.callbacks import EarlyStopping, LearningRateLog

    rates = LearningRateLog()
    watched = network(max_iter=50, tol=0).set_callbacks(
        EarlyStopping("loss", patience=1, min_delta=0.3), rates
    )
    watched.fit(source())
    assert 2 <= watched.n_iter_ < 50
    assert len(rates.get_logs().data_as_pandas) == watched.n_iter_
    alone = network(max_iter=watched.n_iter_).fit(source())
    assert_same(watched, alone)


def test_predictions_of_a_source():
    fitted = network().fit(source())
    np.testing.assert_array_equal(fitted.predict(source(None)), fitted.predict(X))
    np.testing.assert_array_equal(fitted.predict_proba(source()), fitted.predict_proba(X))
    assert fitted.score(source(), CODES) == fitted.score(X, CODES)


@pytest.mark.parametrize(("cls", "y"), [(MLPClassifier, CODES), (MLPRegressor, X[:, :2] ** 2)])
def test_a_source_is_scored_by_its_own_targets_and_weights(cls, y):
    fitted = network(cls).fit(X, y)
    assert fitted.score(source(y)) == fitted.score(X, y)
    assert fitted.score(source(y, sample_weight=WEIGHT)) == fitted.score(X, y, WEIGHT)
    assert fitted.score(source(y), sample_weight=WEIGHT) == fitted.score(X, y, WEIGHT)
    assert fitted.score(source(y, sample_weight=WEIGHT), y) == fitted.score(X, y)
    with pytest.raises(ValueError, match=r"has no targets to compare with\. Give them: BlockSource\(X, y\)"):
        fitted.score(source(None))
    with pytest.raises(ValueError, match=rf"{cls.__name__}.score compares predictions with y, which is None"):
        fitted.score(X)


def test_a_list_of_quantiles_is_scored_by_the_targets_of_a_source():
    fitted = network(MLPRegressor, loss="quantile", quantile=[0.2, 0.8]).fit(X, X[:, 0])
    assert fitted.score(source(X[:, 0])) == fitted.score(X, X[:, 0])


def test_crossed_quantiles_are_counted():
    one, other = (
        network(MLPRegressor, loss="quantile", quantile=[0.2, 0.5, 0.8], shuffle=False) for _ in "ab"
    )
    one.fit(X, X[:, 0])
    other.fit(source(X[:, 0]))
    assert_same(one, other)
    assert one.n_crossed_ == other.n_crossed_


def test_ctrl_c_keeps_what_was_trained(visits, monkeypatch, ctrl_c):
    train = Trainer.train

    def interrupted(self, *arguments, **options):
        if len(visits) == 7:  # in the second epoch
            ctrl_c()
        return train(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "train", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        fitted = network(max_iter=9).fit(source())
    assert fitted.n_iter_ == 1
    fitted.predict(X)


def test_max_time_ends_between_batches():
    fitted = network(max_iter=10**6, max_time=0.3, tol=0, n_iter_no_change=10**6)
    with pytest.warns(ConvergenceWarning, match="max_time"):
        fitted.fit(source())
    assert 0 < fitted.history_["seconds"][-1] < 3  # 10 times as long as allowed: other processes may run


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path, visits, monkeypatch, ctrl_c):
    pytest.importorskip("safetensors")
    params = {"max_iter": 5, "early_stopping": True, "validation_fraction": 0.2, "dropout": 0.1}
    whole = network(**params).fit(source())
    del visits[:]
    train = Trainer.train

    def interrupted(self, *arguments, **options):
        if len(visits) == 10:
            ctrl_c()
        return train(self, *arguments, **options)

    path = tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", interrupted)
        with pytest.warns(UserWarning, match="interrupted"):
            assert network(checkpoint=path, **params).fit(source()).n_iter_ < 5
    assert_same(network(checkpoint=path, **params).fit(source()), whole)
    with pytest.raises(ValueError, match="X differs"):
        network(checkpoint=path, **params).fit(source(CODES[::-1]))


def test_names_of_columns(tmp_path):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    frame.assign(kind=CODES).to_parquet(tmp_path / "rows.parquet", row_group_size=37)
    rows = BlockSource(tmp_path / "rows.parquet", "kind", buffer_rows=430)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = network(max_iter=1).fit(rows, X_val=frame[:50], y_val=CODES[:50])
        assert list(fitted.feature_names_in_) == list("abcdef")
        np.testing.assert_array_equal(fitted.predict(rows), fitted.predict(frame))
        fitted.set_params(warm_start=True).fit(rows)
    other = BlockSource(tmp_path / "rows.parquet", columns=list("bacdef"))
    with pytest.raises(ValueError, match="in their order"):
        fitted.predict(other)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.predict(source())
    with pytest.warns(UserWarning, match="fitted without feature names"):
        network().fit(source()).predict(rows)


def bad(place, value):
    data = X.copy()
    data[place] = value
    return data


@pytest.mark.parametrize(
    ("params", "call", "message"),
    [
        ({"solver": "lbfgs"}, lambda model: model.fit(source()), "solver='lbfgs' needs all rows"),
        ({}, lambda model: model.fit(source(), CODES), "brings its own y"),
        ({}, lambda model: model.fit(source(), sample_weight=WEIGHT), "brings its own sample_weight"),
        ({}, lambda model: model.fit(source(None)), "no targets to train on"),
        ({}, lambda model: model.fit(X, CODES, X_val=source(), y_val=CODES), "X_val must be rows in memory"),
        ({}, lambda model: model.fit(source(sample_weight=np.zeros(2000))), "at least one non-zero"),
        ({}, lambda model: model.fit(source(X[:, 0])), "continuous"),
        ({"early_stopping": True}, lambda model: model.fit(source(block_rows=1000)), "whole blocks"),
        ({"early_stopping": True, "scoring": "f1_macro"}, lambda model: model.fit(source()), "Pass X_val"),
        ({}, lambda model: model.fit(source(data=bad((1234, 5), np.nan))), "NaN.*rows 1,221 to 1,257"),
        ({}, lambda model: model.fit(source()).predict(source(data=X[:, :4])), "X has 4 features"),
    ],
)
@pytest.mark.filterwarnings("ignore:Parameters of")
def test_what_a_source_cannot_do_is_said(params, call, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call(network(**params))


def test_weights_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        network().fit(source(sample_weight=np.where(np.arange(2000) == 777, np.nan, 1.0)))


@pytest.mark.parametrize("kind", ["strings", "labels"])
def test_balanced_weights_are_those_of_all_rows(kind):
    _, y = TARGETS[kind]
    one, other = (network(shuffle=False, class_weight="balanced") for _ in range(2))
    assert_same(one.fit(X, y), other.fit(source(y)))
    if kind == "strings":
        weights = compute_class_weight("balanced", classes=np.unique(y), y=y)
        explicit = network(shuffle=False, class_weight=dict(zip(np.unique(y), weights, strict=True)))
        assert_same(explicit.fit(source(y)), other)


def test_bags_of_small_networks_take_tables_in_memory():
    with pytest.raises(TypeError, match="X is a BlockSource, and tables are read in memory"):
        TabularMLPClassifier().fit(source(), CODES)


@pytest.mark.parametrize(
    "y",
    [
        np.array([3, -2, 3, 7, -2], np.int8),
        np.array([2**63, 2**63 + 5], np.uint64),
        np.array([-(2**62), 2**62]),
        np.array([True, False, True]),
        np.array(["b", "a"]),
        np.array([1.0, 0.0, 1.0]),
    ],
    ids=lambda y: y.dtype.str,
)
def test_labels_are_counted_as_numpy_counts_them(y):
    found, expected = block_input._counted(y), np.unique(y, return_counts=True)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
