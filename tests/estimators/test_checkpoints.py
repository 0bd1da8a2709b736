"""Fits with ``checkpoint=``: interrupted, killed or short of disk, they end with the same bits."""

import contextlib
import datetime
import errno
import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse
from reference import killed_fits
from reference.saved_models import LABELS, NUMBERS, X, numbers
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import (
    EMA,
    SAM,
    SGD,
    Adam,
    AdamW,
    MLPClassifier,
    MLPRegressor,
    MultiSteps,
    Muon,
    SkipNonFinite,
    _file_lock,
)
from fastopt._file_lock import file_lock
from fastopt.model_files.objects import load_objects, save_objects
from fastopt.schedules import cosine, function, plateau

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Training interrupted"),
]

WEIGHTS = np.random.RandomState(3).uniform(0, 2, len(X))
SMALL = {"hidden_layer_sizes": (5, 3), "batch_size": 16, "max_iter": 8, "random_state": 0, "tol": 0.0}
#: A network and its data, by what of them has to survive.
CASES = {
    "moments": lambda: (MLPClassifier(**SMALL), X.astype(np.float32), LABELS),
    "patience and held-out rows": lambda: (
        MLPClassifier(early_stopping=True, n_iter_no_change=2, **SMALL), X, LABELS, WEIGHTS,
    ),
    "best weights by loss": lambda: (
        MLPRegressor(restore_best_weights=True, shuffle=False, learning_rate_init=0.3, **SMALL), X, NUMBERS,
    ),
    "a rate lowered by a rule": lambda: (
        MLPRegressor(solver="sgd", learning_rate="adaptive", n_iter_no_change=1, **SMALL | {"tol": 0.1}),
        X, NUMBERS,
    ),
    "a rate lowered by a schedule": lambda: (
        MLPRegressor(learning_rate=plateau(0.1, patience=0) * function(np.sqrt, unit="run"), **SMALL),
        X, NUMBERS,
    ),
    "averages and a schedule": lambda: (
        MLPRegressor(solver=EMA(AdamW(lr=cosine(0.1)), decay=0.5), early_stopping=True, **SMALL), X, NUMBERS,
    ),
    "steps skipped": lambda: (
        MLPClassifier(solver=SkipNonFinite(MultiSteps(Adam(lr=cosine(0.1, unit="epoch")), 3)), **SMALL),
        X, LABELS,
    ),
    "a closure": lambda: (MLPClassifier(solver=SAM(SGD(lr=0.1, momentum=0.9)), **SMALL), X, LABELS),
    "matrices": lambda: (MLPRegressor(solver=Muon(lr=0.01), clip_norm=0.1, **SMALL), X, NUMBERS),
    "slopes": lambda: (MLPClassifier(activation="prelu", **SMALL), X, LABELS),
    "a scale of the inputs and rates of layers": lambda: (
        MLPRegressor(
            solver="schedulefreeadamw", input_scale=True,
            learning_rate_factors={"weights": "fan_in", "biases": 0.1, "input_scale": 6.0}, **SMALL,
        ),
        X, NUMBERS,
    ),
    "rates of layers, clipped": lambda: (
        MLPClassifier(learning_rate_factors="fan_in", clip_norm=0.1, **SMALL), X, LABELS,
    ),
    "codes": lambda: (MLPRegressor(solver=Adam(state_dtype="int8"), **SMALL), X.astype(np.float32), NUMBERS),
    "numbers of a rule": lambda: (MLPRegressor(solver="schedulefreeadamw", **SMALL), X, NUMBERS),
    "rows of a sparse matrix": lambda: (
        MLPClassifier(early_stopping=True, **SMALL), scipy.sparse.csc_matrix(np.maximum(X, 0)), LABELS,
    ),
    "dropped units": lambda: (
        MLPClassifier(dropout=(0.1, plateau(0.5, patience=0), function(np.sqrt, unit="run") * 0.3), **SMALL),
        X, LABELS,
    ),
    "bounded weights and dropped units": lambda: (
        MLPRegressor(dropout=0.2, max_norm=0.5, weight_decay=0.1, early_stopping=True, **SMALL), X, NUMBERS,
    ),
    "a generator of the caller's": lambda: (
        MLPRegressor(**SMALL | {"random_state": np.random.RandomState(np.random.PCG64(1))}), X, NUMBERS,
    ),
}  # fmt: skip


class InterruptingStream:
    """A standard output on which the line of an epoch arrives together with Ctrl-C."""

    def __init__(self, epoch):
        self.start = f"Iteration {epoch},"

    def write(self, text):
        if text.startswith(self.start):
            raise KeyboardInterrupt

    def flush(self):
        pass


def interrupt(network, epoch, *data):
    """Fit, and press Ctrl-C at the end of an epoch before it counts as completed."""
    with contextlib.redirect_stdout(InterruptingStream(epoch)):
        return network.set_params(verbose=True).fit(*data).set_params(verbose=False)


def assert_same(network, expected):
    """Compare everything in two fitted networks but where they keep their checkpoints, to the bit."""
    plain = {"checkpoint": None, "checkpoint_every": 1, "verbose": False}
    ours, theirs = (numbers(one.set_params(**plain)) for one in (network, expected))
    assert ours.keys() == theirs.keys()
    for path, value in theirs.items():
        np.testing.assert_array_equal(ours[path], value, err_msg=path)
        assert type(ours[path]) is type(value), path
    states = [one._random_state.get_state(legacy=False) for one in (network, expected)]
    np.testing.assert_equal(*states)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@pytest.mark.filterwarnings("ignore:solver=")
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_fit_goes_on_to_the_same_bits(case, every, path):
    network, *data = CASES[case]()
    expected = network.fit(*data)
    for epoch in (2, 5):  # of this fit, and of the one that goes on
        network = CASES[case]()[0].set_params(checkpoint=path, checkpoint_every=every)
        interrupt(network, epoch, *data)
    network = CASES[case]()[0].set_params(checkpoint=path).fit(*data)
    assert_same(network, expected)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_completed_fit_is_returned_without_training(path, capsys):
    network, *data = CASES["patience and held-out rows"]()
    network.set_params(checkpoint=path)
    expected = clone(network).fit(*data)
    written = path.read_bytes()
    capsys.readouterr()
    again = clone(network).set_params(verbose=True, n_jobs=1, checkpoint_every=7).fit(*data)
    assert "Iteration" not in capsys.readouterr().out.replace("after iteration", "")
    assert_same(again.set_params(n_jobs=None), expected)
    assert path.read_bytes() == written


def test_a_resumed_fit_says_where_it_stands_and_warns_as_if_it_had_not_been_interrupted(path, capsys):
    interrupt(MLPClassifier(checkpoint=path, **SMALL), 4, X, LABELS)
    network = MLPClassifier(checkpoint=path, verbose=True, **SMALL)
    for _ in range(2):  # going on, and completed
        with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
            network.fit(X, LABELS)
    out = capsys.readouterr().out
    assert f"Resumed from {str(path)!r} after iteration 3 and " in out
    assert "Iteration 4," in out
    assert "Iteration 3," not in out


@pytest.mark.parametrize("alpha", [0.0001, 0.5], ids=["default", "other"])
def test_parameters_that_an_earlier_version_did_not_have_count_as_at_their_defaults(alpha, path):
    network = MLPClassifier((4,), max_iter=5, random_state=0)
    interrupt(clone(network).set_params(checkpoint=path), 3, X, LABELS)
    saved = load_objects(path, "checkpoint")
    del saved["identity"]["alpha"]  # as if it were new
    save_objects(path, saved, "checkpoint")
    again = clone(network).set_params(checkpoint=path, alpha=alpha)
    if alpha == 0.0001:
        assert_same(again.fit(X, LABELS), network.fit(X, LABELS))
    else:
        with pytest.raises(ValueError, match=r"alpha was 0.0001 and is 0.5\. Choose"):
            again.fit(X, LABELS)


def test_numpys_global_generator_is_followed_and_left_alone(path, monkeypatch):
    network = MLPClassifier(**SMALL | {"random_state": None})
    monkeypatch.setattr(np.random.mtrand, "_rand", np.random.RandomState(5))
    expected = clone(network).fit(X, LABELS)
    monkeypatch.setattr(np.random.mtrand, "_rand", np.random.RandomState(5))
    interrupt(clone(network).set_params(checkpoint=path), 4, X, LABELS)
    monkeypatch.setattr(np.random.mtrand, "_rand", np.random.RandomState(6))
    network.set_params(checkpoint=path).fit(X, LABELS)
    assert network.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(network.coefs_[0], expected.coefs_[0])
    assert network._random_state is not np.random.mtrand._rand


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"alpha": 0.01}, "alpha was 0.0001 and is 0.01"),
        ({"hidden_layer_sizes": (5, 4)}, r"hidden_layer_sizes was \[5, 3\] and is \[5, 4\]"),
        ({"random_state": 1}, "random_state was 0 and is 1"),
        ({"solver": AdamW(lr=0.1)}, r"solver was 'AdamW\(lr=0.2\)' and is 'AdamW\(lr=0.1\)'"),
        ({"learning_rate": lambda share: 1 - share / 3}, "the course of the schedule differs"),
        ({"warm_start": True, "max_iter": 9}, "max_iter was 8 and is 9; warm_start was False and is True"),
    ],
)
def test_other_arguments_are_refused_by_name(change, sentence, path):
    network = MLPClassifier(
        **{"solver": AdamW(lr=0.2), "learning_rate": lambda share: 1 - share / 2} | SMALL, checkpoint=path
    )
    interrupt(network, 3, X, LABELS)
    written = path.read_bytes()
    with pytest.raises(ValueError, match=f"of another fit: {sentence}. Choose another file, or delete this"):
        clone(network).set_params(**change).fit(X, LABELS)
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ((X[:, ::-1], LABELS), "X"),
        ((X.astype(np.float32), LABELS), "X differs; y"),  # targets have the type of X
        ((scipy.sparse.csr_matrix(X), LABELS), "X"),
        ((X, np.where(LABELS == "no", "never", LABELS)), "y"),
        ((X, LABELS, np.ones(len(X))), "sample_weight"),
    ],
)
def test_other_data_are_refused_by_name(data, name, path):
    network = MLPClassifier(checkpoint=path, **SMALL).fit(X, LABELS)
    with pytest.raises(ValueError, match=f"of another fit: {name} differs. Choose"):
        clone(network).fit(*data)


def test_a_generator_that_has_moved_on_is_refused(path):
    network = MLPClassifier(checkpoint=path, **SMALL | {"random_state": np.random.RandomState(0)})
    interrupt(network, 3, X, LABELS)
    with pytest.raises(ValueError, match="the state of random_state differs"):
        network.fit(X, LABELS)


def test_a_warm_start_goes_on_where_it_was_and_begins_no_second_fit_in_one_file(path):
    first = MLPClassifier(warm_start=True, reset_optimizer=False, early_stopping=True, **SMALL).fit(X, LABELS)
    expected = pickle.loads(pickle.dumps(first)).fit(X, LABELS)
    for again in (lambda network: network, lambda _: pickle.loads(pickle.dumps(first))):
        network = pickle.loads(pickle.dumps(first)).set_params(checkpoint=path)
        interrupt(network, 4, X, LABELS)
        network = again(network).set_params(checkpoint=path).fit(X, LABELS)
        assert_same(network, expected)
        with pytest.raises(ValueError, match="of another fit: the network before the fit differs"):
            network.set_params(checkpoint=path).fit(X, LABELS)
        path.unlink()


def test_weights_that_were_put_in_are_where_a_warm_start_begins(path):
    network = MLPRegressor(warm_start=True, **SMALL).fit(X, NUMBERS)
    for factor in (1, 2):
        network.coefs_ = [factor * w.astype(np.float32) for w in network.coefs_]
        network.intercepts_ = [b.astype(np.float32) for b in network.intercepts_]
        given = pickle.dumps(network)
        expected = pickle.loads(given).fit(X, NUMBERS)
        network = pickle.loads(given).set_params(checkpoint=f"{path}{factor}")
        interrupt(pickle.loads(pickle.dumps(network)), 4, X, NUMBERS)
        assert_same(network.fit(X, NUMBERS), expected)


def test_two_fits_never_write_one_file(path):
    network = MLPClassifier(checkpoint=path, **SMALL)
    with file_lock(path), pytest.raises(ValueError, match="is being written by another fit"):
        network.fit(X, LABELS)
    search = GridSearchCV(network, {"alpha": [1e-4, 1e-3]}, cv=2, error_score="raise", refit=False)
    with pytest.raises(ValueError, match="of another fit: X differs; y differs"):
        search.fit(X, LABELS)


def test_the_lock_ends_with_its_process(path):
    code = f"""
import sys, time
from fastopt import _file_lock
from fastopt._file_lock import file_lock
with file_lock({str(path)!r}) as is_held:
    print(is_held, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with file_lock(path) as is_held:
            assert not is_held
        other.kill()
        other.wait()
        with file_lock(path) as is_held:
            assert is_held
    assert not [*path.parent.iterdir()]


def test_a_file_system_without_locks_costs_a_warning(path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(_file_lock, "_lock", refuse)
    monkeypatch.setattr(_file_lock, "_unlock", refuse)
    with pytest.warns(UserWarning, match="has no locks .*see to it that no other process writes"):
        MLPClassifier(checkpoint=path, **SMALL).fit(X, LABELS)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_full_disk_costs_a_warning_and_leaves_the_last_file(path):
    resource = pytest.importorskip("resource")
    expected = MLPClassifier(**SMALL).fit(X, LABELS)
    network = MLPClassifier(checkpoint=path, **SMALL)
    interrupt(clone(network), 3, X, LABELS)
    written, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes of a file
        try:
            network.fit(X, LABELS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    messages = [str(w.message) for w in caught if "could not be written" in str(w.message)]
    assert len(messages) == 1
    assert "File too large" in messages[0]
    assert path.read_bytes() == written
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert_same(network, expected)


def test_ctrl_c_writes_the_last_completed_epoch_of_a_long_interval(path, capsys):
    network = MLPClassifier(checkpoint=path, checkpoint_every=datetime.timedelta(hours=1), **SMALL)
    interrupt(network, 6, X, LABELS)
    clone(network).set_params(verbose=True).fit(X, LABELS)
    assert "after iteration 5 " in capsys.readouterr().out


def test_an_interval_of_time_is_that_between_two_files(path, monkeypatch):
    from fastopt.neural_network import checkpoints

    now, written = iter(range(1000)), []
    monkeypatch.setattr(
        checkpoints.time, "perf_counter", lambda: float(next(now))
    )  # a second passes at each look
    monkeypatch.setattr(checkpoints, "save_objects", lambda path, saved, kind: written.append(saved))
    network = MLPClassifier(checkpoint=path, **SMALL | {"max_iter": 20})
    network.set_params(checkpoint_every=datetime.timedelta(seconds=10)).fit(X, LABELS)
    seconds = np.diff([saved["seconds"] for saved in written])
    assert len(written) > 3
    assert seconds[:-1].min() >= 9
    assert seconds.max() <= 13
    assert written[-1]["ending"] == "max_iter"


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"checkpoint_every": 0}, "'checkpoint_every' parameter of MLPClassifier must be"),
        ({"checkpoint_every": 30.0}, r"For seconds pass datetime.timedelta\(seconds=30.0\)"),
        ({"checkpoint_every": datetime.timedelta(0)}, "must be longer than no time"),
        ({"checkpoint": 3}, "'checkpoint' parameter of MLPClassifier must be"),
        ({"solver": "lbfgs"}, "does not go with solver='lbfgs'.*Set checkpoint=None, or take another"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_what_to_do(params, sentence, path):
    with pytest.raises(ValueError, match=sentence):
        MLPClassifier(**{"checkpoint": path} | params).fit(X, LABELS)
    assert not path.exists()


def test_partial_fit_refuses_a_checkpoint(path):
    with pytest.raises(ValueError, match="partial_fit writes no checkpoints"):
        MLPRegressor(checkpoint=path).partial_fit(X, NUMBERS)


def test_an_interval_without_a_file_is_named_as_unused():
    with pytest.warns(UserWarning, match="checkpoint_every=2 .of checkpoint=... only"):
        MLPRegressor(checkpoint_every=2, **SMALL).fit(X, NUMBERS)


def test_a_folder_that_is_not_there_is_named_before_training(path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing'; make it first"):
        MLPRegressor(checkpoint=path.parent / "missing" / "file").fit(X, NUMBERS)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:-9], lambda b: b[:300] + b"?" + b[301:]])
def test_a_damaged_file_is_named_and_stays(damage, path):
    network = MLPClassifier(checkpoint=path, **SMALL).fit(X, LABELS)
    path.write_bytes(damaged := damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"fit\.checkpoint is damaged"):
        network.fit(X, LABELS)
    assert path.read_bytes() == damaged


def test_a_model_file_is_no_checkpoint(path):
    from fastopt.model_files.objects import save_objects

    save_objects(path, {"solver": Adam()}, "model")
    with pytest.raises(ValueError, match="holds a model, not a checkpoint"):
        MLPClassifier(checkpoint=path, **SMALL).fit(X, LABELS)


def test_killed_fits_lose_one_epoch_at_most_and_end_with_the_same_bits():
    pytest.importorskip("fcntl")
    # In a process without threads, which forks safely.
    command = [sys.executable, killed_fits.__file__, "--kills", "3"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert found["kills"] >= 3
    assert found["most_lost"] <= 1
    assert (found["unreadable"], found["other"], found["leftovers"]) == (0, 0, 0)


def test_pickling_takes_nothing_from_the_network():
    network = MLPRegressor(**SMALL).fit(X, NUMBERS)
    before = dict(vars(network))
    pickle.dumps(network)
    assert vars(network) == before


def test_every_option_is_a_parameter_and_off_by_default(path):
    for cls in (MLPClassifier, MLPRegressor):
        assert (cls().checkpoint, cls().checkpoint_every) == (None, 1)
        network = cls(checkpoint=str(path), checkpoint_every=datetime.timedelta(minutes=1))
        assert clone(network).get_params() == network.get_params()
    assert fastopt.from_sklearn(MLPRegressor(**SMALL).fit(X, NUMBERS).to_sklearn()).checkpoint is None
