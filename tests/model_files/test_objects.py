"""Objects as arrays and JSON: every value comes back as it was, and no file makes what it should not."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from reference.saved_models import numbers

import fastopt
from fastopt import EMA, SAM, SGD, Adam, AdamW, Clip, MultiSteps, persistence
from fastopt.engine import Layout
from fastopt.model_files import container
from fastopt.model_files.objects import load_objects, naming, pack, save_objects, unpack
from fastopt.neural_network.early_stopping import EarlyStopping
from fastopt.optimizers import wrappers
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.rules.registry import RULES, register
from fastopt.schedules import Run, Schedule, cosine, function, plateau, product, schedule, sequence, warmup
from fastopt.schedules.base import SCHEDULES


def there_and_back(value):
    """Return a value after it was text and arrays."""
    arrays, content = pack({"it": value})
    return unpack(arrays, json.loads(json.dumps(content, allow_nan=False)))["it"]


def forged(encoded, **arrays):
    """Return the value that a file with this JSON and these arrays holds."""
    return unpack(arrays, {"state_version": persistence.STATE_VERSION, "value": {"dict": {"it": encoded}}})[
        "it"
    ]


VALUES = [
    None,
    True,
    0,
    -(2**80),
    0.1,
    -0.0,
    5e-324,
    float("nan"),
    float("-inf"),
    "",
    "ä\ud800\x00",
    [],
    (),
    {},
    [1, (2.5, [None]), {"a": {"b": ()}}],
    {1: "a", "1": "b", (1, "x"): None, None: 0},
    {"array": [1], "object": 2},
    np.float32(0.1),
    np.float64("nan"),
    np.int64(-(2**62)),
    np.bool_(True),
    np.str_("label"),
    np.dtype("float32"),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_plain_value_comes_back(value):
    again = there_and_back(value)
    assert type(again) is type(value)
    assert repr(again) == repr(value)  # tells -0.0 from 0.0 and takes NaN for equal


ARRAYS = [
    np.arange(6.0).reshape(2, 3).T,
    np.arange(10)[::-3],
    np.array(1.5),
    np.zeros((0, 4), np.float32),
    np.array([True, False]),
    np.array(["no", "perhaps", "ä\U0001f600"]),
    np.array([["a", ""], ["\x00b", "c"]]),
    np.array("one"),
    np.array(["no", "yes"], ">U5"),
    np.array(["no", None, 1, 0.5, np.str_("x")], object),
    np.empty((0, 2), object),
    np.array(["2020-01-01", "NaT"], "M8[D]"),
    np.array([1, 2], "m8[ms]"),
    np.array([1, 2], ">i4"),
    np.array([1, 2], ">f8"),
    np.array([1, 2], np.float16),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_comes_back(array):
    again = there_and_back(array)
    assert again.dtype == array.dtype
    assert again.flags.writeable
    np.testing.assert_array_equal(again, array)
    if array.dtype == object:
        assert [type(item) for item in again.flat] == [type(item) for item in array.flat]


def test_arrays_have_the_names_of_their_places():
    arrays, _ = pack({"a": [np.ones(1), {"b": np.ones(2)}], "a.0": np.ones(3), "__metadata__": np.ones(4)})
    assert {name: len(array) for name, array in arrays.items()} == {
        "a.0": 1,
        "a.1.b": 2,
        "a.0_": 3,
        "__metadata___": 4,
    }


def test_a_random_state_goes_on_with_its_draws():
    state = np.random.RandomState(3)
    state.standard_normal(7)  # an odd number leaves one draw of a pair for the next call
    again = there_and_back(state)
    np.testing.assert_array_equal(again.standard_normal(5), state.standard_normal(5))
    np.testing.assert_array_equal(again.randint(2**31, size=1000), state.randint(2**31, size=1000))


OPTIMIZERS_AND_SCHEDULES = [
    *(fastopt.get_optimizer(name) for name in fastopt.list_optimizers()),
    *(getattr(wrappers, name)(Adam(lr=0.5)) for name in wrappers.__all__ if name != "Wrapper"),
    EMA(Clip(AdamW(lr=warmup(cosine(0.01), 5), betas=(cosine(0.9, end=0.8), 0.99)), norm=1.0)),
    SAM(MultiSteps(SGD(lr=plateau(0.1).observe(2.0).observe(np.inf)), 2)),
    *(SCHEDULES[name]() for name in fastopt.schedules.list_schedules()),
    product((cosine(0.1), 2.0)),
    sequence([cosine(0.1, 5), 0.5], [7]),
]


@pytest.mark.parametrize("value", OPTIMIZERS_AND_SCHEDULES, ids=repr)
def test_an_optimizer_or_schedule_comes_back(value):
    again = there_and_back(value)
    assert type(again) is type(value)
    assert again == value
    assert numbers(again) == numbers(value)


def test_the_rest_of_training_comes_back():
    watch = EarlyStopping(best=np.inf, tol=0.1, n_iter_no_change=3)
    weights = np.arange(3.0)
    watch.keep_best(weights)
    watch.observe(2.0, weights)
    watch.observe(5.0, np.zeros(3))
    again = there_and_back({"watch": watch, "layout": Layout([3, 2, 1]), "run": Run(10.0, 5, seen=(1.5, 2))})
    assert again["layout"] == Layout([3, 2, 1])
    assert again["run"] == Run(10.0, 5, seen=(1.5, 2))
    plain = "best tol n_iter_no_change greater_is_better n_bad keeps_best".split()
    assert [vars(again["watch"])[name] for name in plain] == [vars(watch)[name] for name in plain]
    again["watch"].restore(restored := np.zeros(3))
    np.testing.assert_array_equal(restored, weights)


@schedule
class halved(Schedule):
    value: float = 1.0

    def values(self, clock):
        return self.value * 0.5**clock.steps


def test_what_is_registered_is_found_by_its_name():
    register("tripled", slots=(), constants=lambda h, t: (3 * h["lr"],), defaults={"lr": 0.01})(
        lambda w, g, step: (w - step * g,)
    )
    packed = pack({"it": fastopt.get_optimizer("tripled", lr=halved(8.0))})
    assert unpack(*packed)["it"] == fastopt.get_optimizer("tripled", lr=halved(8.0))
    del RULES["tripled"], OPTIMIZERS["tripled"]
    message = "the optimizer 'tripled', which is not registered here: before loading, import the module that"
    with pytest.raises(ValueError, match=f"{message} registers it with fastopt.register"):
        unpack(*packed)


def test_a_schedule_that_is_not_registered_says_so(monkeypatch):
    packed = pack({"it": halved(8.0)})
    monkeypatch.delitem(SCHEDULES, "halved")
    with pytest.raises(
        ValueError, match=r"the schedule 'halved', which is not .*fastopt\.schedules\.schedule"
    ):
        unpack(*packed)
    with pytest.raises(TypeError, match=r"test_objects\.halved is a class of your own.*Register it"):
        pack({"it": halved(8.0)})


itself: list = []
itself.append(itself)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (function(abs), r"it\.f=<built-in function abs> is a function or class, which is code"),
        (abs, "it=<built-in function abs> is a function or class, which is code"),
        (Adam, "is a function or class, which is code"),
        ({"a": [b"bytes"]}, r"it\.a\.0=b'bytes' is a bytes: a file without code cannot hold it"),
        ({1, 2}, "is a set"),
        (1j, "is a complex"),
        (SimpleNamespace(), "is a SimpleNamespace"),
        (np.datetime64("2020"), "is a datetime64"),
        (np.zeros(3, complex), "it is an array of complex128, which a file cannot hold"),
        (np.zeros(3, "V8"), "it is an array of"),
        (np.array(["a"], "S1"), r"it is an array of \|S1"),
        (np.array([[], {}], object), r"it holds \[\], a list: no text or number"),
        (np.random.RandomState(np.random.PCG64(1)), "it draws from PCG64, and a file can hold a RandomState"),
        (itself, "what holds itself, or is nested too deeply, cannot be stored"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_a_file_cannot_hold_is_refused(value, message):
    with pytest.raises(TypeError, match=message):
        pack({"it": value})


def array(*shape, dtype=float):
    return np.zeros(shape, dtype)


LAYOUT = {"layer_sizes": {"tuple": [1, 1]}}
FLAT = {
    "optimizer": {"object": ["optimizer.SGD", {}]},
    "hyper": {"dict": SGD().get_params()},
    "run": {"object": ["Run", {}]},
    "t": 0,
    "dtype": {"dtype": "float64"},
    "size": 4,
    "n_decay": 2,
    "state": {"array": ["s"]},
    "scalars": {"tuple": []},
    "is_training": True,
}


def test_the_state_that_is_forged_below_is_right_before():
    state = forged({"object": ["FlatState", FLAT]}, s=array(0, 4))
    assert state.state.shape == (0, 4)
    assert forged({"object": ["Layout", LAYOUT]}) == Layout([1, 1])


@pytest.mark.parametrize(
    "encoded",
    [
        {},
        {"tuple": 1},
        {"tuple": [], "dict": {}},
        {"eval": "1"},
        {"dict": [[{"dict": {}}, 1]]},
        {"dict": [1]},
        {"float": "1e999"},
        {"float": "1"},
        {"scalar": ["object", 1]},
        {"scalar": ["int8", 300]},
        {"scalar": ["float64", "a"]},
        {"dtype": "O"},
        {"array": ["no such"]},
        {"array": []},
        {"array": ["s", "O"]},
        {"array": ["s", "<f8,<f8"]},
        {"array": ["s", "<U2"]},
        {"array": ["u", "<U0"]},
        {"array": ["u", "<U9999999999"]},
        {"array": ["u", "<U1"]},
        {"array": ["u", "<M8[x]"]},
        {"objects": [[10**12], []]},
        {"objects": [[-1, -1], [1]]},
        {"objects": [[2**70], [1]]},
        {"RandomState": [{"array": ["k"]}, 10**6, 0, 0.0]},
        {"RandomState": [{"array": ["k"]}, -1, 0, 0.0]},
        {"RandomState": [{"array": ["s"]}, 0, 0, 0.0]},
        {"RandomState": [{"array": ["k"]}, 0, 2, 0.0]},
        {"RandomState": [{"array": ["k"]}, 0, 0]},
        {"object": ["os.system", {}]},
        {"object": ["optimizer.register", {}]},
        {"object": ["optimizer.Stepper", {}]},
        {"object": ["schedule.Clock", {}]},
        {"object": ["estimator.MLPClassifier", {}]},
        {"object": [["optimizer.Adam"], {}]},
        {"object": ["registered.nothing", {}]},
        {"object": ["registered schedule.nothing", {}]},
        {"object": ["optimizer.Adam", {"__class__": 1}]},
        {"object": ["optimizer.Adam", {"bind": 1}]},
        {"object": ["optimizer.Adam", {"lr": {"object": ["optimizer.Adam", {}]}, "rule": 1}]},
        {"object": ["Layout", {}]},
        {"object": ["Layout", LAYOUT | {"weights": 1}]},
        {"object": ["Layout", {"layer_sizes": {"tuple": [1, -1]}}]},
        {"object": ["Run", {"seen": [{"dict": {}}]}]},
        {"object": ["Run", {"n_steps": "x"}]},
        {"object": ["StochasticSolver", {}]},
        {"object": ["FlatState", FLAT | {"_kernel": 1}]},
        {"object": ["FlatState", FLAT | {"optimizer": 1}]},
        {"object": ["FlatState", FLAT | {"run": None}]},
        {"object": ["FlatState", FLAT | {"hyper": {"dict": {"lr": 1}}}]},
        {"object": ["FlatState", FLAT | {"hyper": {"dict": SGD().get_params() | {"lr": "x"}}}]},
        {"object": ["FlatState", FLAT | {"hyper": {"dict": SGD().get_params() | {"lr": -1.0}}}]},
        {"object": ["FlatState", FLAT | {"t": -1}]},
        {"object": ["FlatState", FLAT | {"t": 0.5}]},
        {"object": ["FlatState", FLAT | {"size": 5}]},
        {"object": ["FlatState", FLAT | {"n_decay": 5}]},
        {"object": ["FlatState", FLAT | {"dtype": {"dtype": "float32"}}]},
        {"object": ["FlatState", FLAT | {"dtype": {"dtype": "int8"}}]},
        {"object": ["FlatState", FLAT | {"state": {"array": ["k"]}}]},
        {"object": ["FlatState", FLAT | {"state": {"tuple": []}}]},
        {"object": ["FlatState", FLAT | {"scalars": {"tuple": [1.0]}}]},
        {"tuple": [{"array": ["s"]}, {"array": ["s"]}]},
    ],
    ids=lambda encoded: str(encoded)[:70],
)
def test_what_no_file_of_ours_holds_is_a_valueerror(encoded):
    arrays = {"s": array(0, 4), "k": array(624, dtype=np.uint32), "u": array(2, 4, dtype=np.uint8) + 255}
    with pytest.raises(ValueError, match=r"^file cannot be loaded: "), naming("file"):
        forged(encoded, **arrays)


@pytest.mark.parametrize("content", [{}, {"state_version": persistence.STATE_VERSION + 1}])
def test_another_state_version_is_refused(content):
    with pytest.raises(ValueError, match="saved with state version"):
        unpack({}, content)


def test_an_array_that_nothing_names_is_refused():
    with pytest.raises(ValueError, match=r"does not name the arrays \['more'\]"):
        forged(None, more=array(2))


def test_a_file_of_objects_comes_back(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "it.safetensors"
    value = {"solver": EMA(Adam(lr=cosine(0.1, 5))), "numbers": np.arange(5)[::2], "best": -np.inf}
    save_objects(path, value, "example")
    again = load_objects(path, "example")
    np.testing.assert_array_equal(again.pop("numbers"), value.pop("numbers"))
    assert again == value
    container.write(path, {}, {"state_version": persistence.STATE_VERSION, "value": {"eval": "1"}}, "example")
    with pytest.raises(ValueError, match=r"it\.safetensors cannot be loaded: its content has \['eval'\]"):
        load_objects(path, "example")
