"""Pickles of models: they name one module of fastopt's, carry a version, and are read years later."""

import array
import copy
import pickle
import pickletools
import warnings

import joblib
import numpy as np
import pytest
from reference import saved_models
from reference.saved_models import LABELS, NUMBERS, X, numbers
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning

import fastopt
from fastopt import EMA, SAM, SGD, Adam, AdamW, Clip, MLPClassifier, MLPRegressor, MultiSteps, persistence
from fastopt.engine import Layout
from fastopt.neural_network import _base
from fastopt.neural_network.solvers import StochasticSolver
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.optimizers.wrappers import Wrapper
from fastopt.rules.registry import RULES, register
from fastopt.schedules import Run, Schedule, cosine, function, plateau
from fastopt.schedules.base import SCHEDULES
from fastopt.stepping.flat_state import FlatState
from fastopt.stepping.layerwise_state import LayerwiseState

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # The fixtures hold a LabelBinarizer of the scikit-learn that wrote them.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning"),
]

SOLVERS = [
    *fastopt.list_optimizers(),
    EMA(Adam(lr=cosine(0.01))),
    Clip(AdamW(lr=plateau(0.1)), norm=1.0),
    SAM(MultiSteps(SGD(lr=0.1), 2)),
    Adam(state_dtype="int8"),
    Adam(lr=function(np.sqrt, unit="run"), betas=(cosine(0.9, end=0.8), 0.99)),
]


def modules_named_in(pickled):
    """Return the modules whose names the opcodes of a pickle hold."""
    return {str(arg).split(" ")[0] for _, arg, _ in pickletools.genops(pickled) if "fastopt" in str(arg)}


@pytest.mark.filterwarnings("ignore:solver=")  # the default rate is far below that of some
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_fitted_models_pickle_names_one_module_of_ours(solver):
    reg = MLPRegressor(hidden_layer_sizes=(3,), solver=solver, max_iter=2, random_state=0).fit(X, NUMBERS)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(reg, protocol)
        assert modules_named_in(pickled) == {"fastopt.persistence"}
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.predict(X), reg.predict(X))
    assert_same(again, reg)


def assert_same(one, other):
    ours, theirs = numbers(one), numbers(other)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        np.testing.assert_array_equal(value, theirs[path], err_msg=path)


def own_subclasses(cls):
    for child in cls.__subclasses__():
        if child.__module__.startswith("fastopt."):
            yield child
            yield from own_subclasses(child)


CLASSES = {
    *OPTIMIZERS.values(),
    *own_subclasses(Wrapper),
    *SCHEDULES.values(),
    MLPClassifier,
    MLPRegressor,
    Layout,
    Run,
    FlatState,
    LayerwiseState,
    StochasticSolver,
}


@pytest.mark.parametrize(
    "cls", sorted((c for c in CLASSES if c.__module__.startswith("fastopt.")), key=lambda c: c.__name__)
)
def test_every_class_is_found_by_its_kind(cls):
    kind = persistence.kind_of(cls)
    assert isinstance(kind, str)
    assert persistence.class_of(kind) is cls


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    **{
        f"pickle {n}": lambda model, n=n: pickle.loads(pickle.dumps(model, n))
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("via", COPIES)
@pytest.mark.parametrize("name", saved_models.NAMES)
def test_copies_have_the_same_state(name, via):
    model = saved_models.fitted(name)
    again = COPIES[via](model)
    assert type(again) is type(model)
    assert_same(again, model)


@pytest.mark.parametrize("mmap_mode", [None, "r", "c"])
@pytest.mark.parametrize("name", saved_models.NAMES)
def test_joblib_gives_back_the_state(name, mmap_mode, tmp_path):
    model = saved_models.fitted(name)
    joblib.dump(model, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
    assert_same(again, model)
    assert joblib.hash(again, coerce_mmap=True) == joblib.hash(model)


@pytest.mark.parametrize("name", saved_models.NAMES)
def test_an_unfitted_estimator_pickles_and_clones(name):
    model, targets = saved_models.make(name)
    for again in (pickle.loads(pickle.dumps(model)), clone(model), copy.deepcopy(model)):
        assert again.get_params() == model.get_params()
        assert not hasattr(again, "coefs_")
    np.testing.assert_array_equal(again.fit(X, targets).coefs_[0], model.fit(X, targets).coefs_[0])


class Quick(MLPClassifier):
    """A user's own estimator, with a parameter and an attribute of its own."""

    def __init__(self, hidden_layer_sizes=(4,), *, solver="adam", max_iter=3, random_state=0, colour="red"):
        super().__init__(hidden_layer_sizes, solver=solver, max_iter=max_iter, random_state=random_state)
        self.colour = colour

    def fit(self, X, y):
        self.itself_ = self  # pickle must cope with a circle
        return super().fit(X, y)


def test_a_users_subclass_is_named_by_its_own_module():
    model = Quick(solver=AdamW(lr=0.1), colour="blue").fit(X, LABELS)
    pickled = pickle.dumps(model)
    assert modules_named_in(pickled) == {"fastopt.persistence"}
    assert __name__.encode() in pickled
    again = pickle.loads(pickled)
    assert type(again) is Quick
    assert again.colour == "blue"
    assert again.itself_ is again
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.fit(X, LABELS).coefs_[0], model.fit(X, LABELS).coefs_[0])


class Halved(Schedule):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def values(self, clock):
        return self.value * 0.5**clock.steps


def test_a_users_schedule_and_a_registered_rule_pickle():
    assert pickle.loads(pickle.dumps(Halved(8.0))).value == 8.0
    register("tripled", slots=(), constants=lambda h, t: (3 * h["lr"],), defaults={"lr": 0.01})(
        lambda w, g, step: (w - step * g,)
    )
    try:
        optimizer = fastopt.get_optimizer("tripled", lr=0.5)
        pickled = pickle.dumps(optimizer)
        assert pickle.loads(pickled) == optimizer
        del RULES["tripled"], OPTIMIZERS["tripled"]
        with pytest.raises(ValueError, match="optimizer 'tripled', which is not registered here: before"):
            pickle.loads(pickled)
    finally:
        RULES.pop("tripled", None), OPTIMIZERS.pop("tripled", None)


def test_training_on_with_a_loss_that_is_not_registered_names_what_registers_it():
    model = MLPRegressor(random_state=0, hidden_layer_sizes=(3,)).partial_fit(X, X[:, 0])
    model.loss = "from_another_process"  # as a pickle has it where register_loss was not called
    with pytest.raises(ValueError, match=r"'from_another_process' is not registered.*register_loss adds one"):
        model.partial_fit(X, X[:, 0])


@pytest.mark.parametrize("version", [0, persistence.STATE_VERSION + 1, None])
def test_another_state_version_is_refused_with_a_sentence(version, monkeypatch):
    for model in (MLPClassifier(), Quick().fit(X, LABELS)):
        with monkeypatch.context() as patched:
            patched.setattr(persistence, "STATE_VERSION", version)
            pickled = pickle.dumps(model)
        expected = (
            rf"saved with state version {version}, but fastopt .* reads state version "
            rf"{persistence.STATE_VERSION}\. Load it with the version of fastopt that saved it"
        )
        with pytest.raises(ValueError, match=expected):
            pickle.loads(pickled)


@pytest.mark.parametrize("version", ["0.0.9", "99.0", None])
def test_a_pickle_of_another_version_warns_as_scikit_learns_do(version, monkeypatch):
    model = saved_models.fitted("sgd-classifier")
    monkeypatch.setattr(_base, "__version__", version)
    pickled = pickle.dumps(model)
    monkeypatch.undo()
    by = "0.1.0 or earlier" if version is None else version
    message = rf"unpickle a MLPClassifier of fastopt {by} with fastopt {fastopt.__version__}: .*fastopt\.save"
    with pytest.warns(InconsistentVersionWarning, match=message) as caught:
        again = pickle.loads(pickled)
    assert [warning.filename for warning in caught] == [__file__]
    assert_same(again, model)


def test_a_pickle_of_this_version_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = pickle.loads(pickle.dumps(saved_models.fitted("sgd-classifier")))
        pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert not [name for name in vars(model) if "version" in name]


@pytest.mark.parametrize("kind", ["optimizer.Nosuch", "nosuch.Adam", "Nosuch", "optimizer.get_optimizer", ""])
def test_an_unknown_kind_is_refused_with_a_sentence(kind):
    with pytest.raises(ValueError, match=f"holds a '{kind}', which this version of fastopt does not know"):
        persistence.rebuild(kind, persistence.STATE_VERSION)


def test_a_pickle_from_before_a_parameter_has_its_default():
    model = saved_models.fitted("sgd-classifier")
    state = {k: v for k, v in model.__getstate__().items() if k not in ("clip_norm", "device")}
    again = MLPClassifier.__new__(MLPClassifier)
    again.__setstate__(state)
    assert again.get_params() == model.get_params()
    assert again.partial_fit(X, LABELS).t_ == model.partial_fit(X, LABELS).t_


def test_the_threads_of_the_machine_that_saved_are_not_asked_for():
    model = MLPClassifier((4,), solver="lamb", max_iter=2, n_jobs=1, random_state=0).fit(X, LABELS)
    assert model._optimizer.update.n_threads == 1
    model._optimizer.update.n_threads = 4096
    again = pickle.loads(pickle.dumps(model))
    assert again._optimizer.update.n_threads is None
    assert again.partial_fit(X, LABELS)._optimizer.update.n_threads == 1


def saved():
    """Every file of every version that must be readable."""
    files = sorted(saved_models.FOLDER.glob("*.pickle"))
    assert [f.stem for f in files] == sorted(saved_models.NAMES)
    return files


@pytest.mark.parametrize("path", saved(), ids=lambda p: p.stem)
def test_a_file_of_an_earlier_fastopt_is_read_and_goes_on_training(path):
    pickled = path.read_bytes()
    assert modules_named_in(pickled) == {"fastopt.persistence"}
    model, expected = pickle.loads(pickled)
    now = numbers(model)
    for name, value in expected.items():
        if name in now:  # the others have got other names since, and are missed below if they matter
            np.testing.assert_array_equal(now[name], value, err_msg=name)
    fresh = saved_models.fitted(path.stem)
    # Sums are rounded in another order on another processor, which 18 steps amplify; float32 for Muon.
    tolerance = 1e-3 if fresh.coefs_[0].dtype == np.float32 else 1e-8
    was_equal = np.array_equal(model._params, fresh._params)
    for step in range(3):
        for one, other in zip(model.coefs_, fresh.coefs_, strict=True):
            (np.testing.assert_array_equal if was_equal else lambda a, b: None)(one, other)
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
        if step < 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for either in (model, fresh):
                    continue_training(either, path.stem)
    assert model.n_iter_ == fresh.n_iter_


def continue_training(model, name):
    _, targets = saved_models.make(name)
    data = X.astype(model.coefs_[0].dtype)
    if model.solver == "lbfgs":
        return model.set_params(warm_start=True, max_iter=2).fit(data, targets)
    return model.set_params(early_stopping=False).partial_fit(data, targets)


@pytest.mark.parametrize("options", [{}, {"n_members": 2}, {"early_stopping": True}])
def test_the_state_has_nothing_that_other_formats_cannot_take(options):
    """skops, and what else walks through a state, knows arrays of NumPy and no others."""
    network = MLPClassifier((4,), max_iter=3, random_state=0, **options).fit(X, LABELS)
    values = [value for model in (network, *vars(network).get("members_", ())) for value in state(model)]
    assert not [value for value in values if isinstance(value, array.array)]
    copied = pickle.loads(pickle.dumps(network.set_params(warm_start=True)))
    for model in (network, copied):
        model.fit(X, LABELS)  # goes on, with the same history
    np.testing.assert_array_equal(curves(copied), curves(network))


def state(model):
    return model.__getstate__().values()


def curves(network):
    members = vars(network).get("members_", [network])
    return [[member.history_["loss"], member.history_["val_score"]] for member in members]


def test_skops_gives_back_the_predictions_and_asks_for_the_types_that_the_page_counts(tmp_path):
    skops = pytest.importorskip("skops.io")
    network = MLPClassifier((4,), max_iter=3, random_state=0).fit(X, LABELS)
    skops.dump(network, tmp_path / "model.skops")
    types = skops.get_untrusted_types(file=tmp_path / "model.skops")
    assert len(types) == 7  # docs/deploying.md
    loaded = skops.load(tmp_path / "model.skops", trusted=types)
    np.testing.assert_array_equal(loaded.predict_proba(X), network.predict_proba(X))
    np.testing.assert_array_equal(loaded.history_["loss"], network.history_["loss"])
