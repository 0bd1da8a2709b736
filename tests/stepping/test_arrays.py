"""Which arrays a stepper takes, and how it refuses the others without changing anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastopt
from fastopt import SGD, Adam


def test_a_single_array_stands_for_a_list_of_one():
    w = np.ones(3)
    SGD(lr=1.0).bind(w).step(np.ones(3))
    assert (w == 0).all()


def test_parameters_are_changed_in_place_without_a_copy():
    w = np.ones((3, 4), np.float32)
    before = w.ctypes.data
    SGD(lr=1.0).bind([w]).step([np.full_like(w, 0.5)])
    assert w.ctypes.data == before
    assert (w == 0.5).all()


def test_gradients_are_never_written():
    g = np.linspace(-1, 1, 100)
    kept = g.copy()
    Adam(maximize=True, weight_decay=0.1).bind(np.ones(100)).step([g], grad_scale=3.0)
    np.testing.assert_array_equal(g, kept)


def frozen():
    w = np.ones(4)
    w.flags.writeable = False
    return w


@pytest.mark.parametrize(
    ("param", "error", "words"),
    [
        (np.ones((4, 4))[:, ::2], ValueError, r"params\[0\] is strided"),
        (np.ones(4)[::-1], ValueError, r"params\[0\] is strided"),
        (frozen(), ValueError, r"params\[0\] is read-only"),
        (np.ones(4, np.int64), TypeError, "dtype int64"),
        (np.ones(4, np.float16), TypeError, "dtype float16"),
        (np.ones(4, ">f8"), TypeError, "dtype >f8"),
        (np.ones(4, complex), TypeError, "dtype complex128"),
        (np.array([1.0, None]), TypeError, "dtype object"),
        (np.ma.masked_array([1.0, 2.0]), TypeError, "masked array"),
        (np.float64(1.0), TypeError, "not an array"),
        (1.0, TypeError, "not an array"),
        ("weights", TypeError, "not an array"),
    ],
)
def test_an_unfit_parameter_is_refused_by_name_and_reason(param, error, words):
    with pytest.raises(error, match=words):
        SGD().bind([param])


def test_a_list_of_numbers_is_no_parameter():
    with pytest.raises(TypeError, match=r"params\[0\] is list, not an array"):
        SGD().bind([[1.0, 2.0]])


def test_no_parameters_at_all_are_refused():
    with pytest.raises(ValueError, match="params is empty"):
        SGD().bind([])


def test_the_same_array_twice_is_refused():
    w = np.ones(4)
    with pytest.raises(ValueError, match=r"params\[1\] is the same memory as params\[0\]"):
        SGD().bind([w, w])


def test_overlapping_arrays_are_refused_across_groups():
    w = np.ones(10)
    with pytest.raises(ValueError, match=r"params\[1\] overlaps params\[0\]"):
        SGD().bind([{"params": w[:6]}, {"params": [w[5:]]}])


def test_neighbouring_views_of_one_buffer_are_fine():
    w = np.ones(10)
    SGD(lr=1.0).bind([w[:5], w[5:]]).step([np.ones(5), np.zeros(5)])
    np.testing.assert_array_equal(w, [0] * 5 + [1] * 5)


def test_numpy_refuses_to_move_a_bound_array():
    w = np.ones(10)
    stepper = SGD().bind(w)
    with pytest.raises(ValueError, match="cannot resize"):
        w.resize(1_000_000, refcheck=False)
    assert stepper.nbytes == 0


@pytest.mark.parametrize(
    ("gradient", "error", "words"),
    [
        (np.ones((3, 4), np.float32), TypeError, r"grads\[0\] has dtype float32 .* has float64; convert"),
        (np.ones((4, 3)), ValueError, r"grads\[0\] has shape \(4, 3\) but params\[0\] has \(3, 4\)"),
        (np.ones((4, 3)).T, ValueError, r"grads\[0\] has strides"),
        (np.ones((3, 8))[:, ::2], ValueError, r"grads\[0\] has strides"),
        ([[1.0] * 4] * 3, TypeError, r"grads\[0\] is list"),
    ],
)
def test_an_unfit_gradient_is_refused_and_nothing_changes(gradient, error, words):
    w = np.ones((3, 4))
    stepper = SGD(momentum=0.9).bind([w])
    stepper.step([np.zeros((3, 4))])
    with pytest.raises(error, match=words):
        stepper.step([gradient])
    assert (w == 1).all()
    assert stepper.state_dict()["state"][0]["step"] == 1


def test_a_gradient_that_is_the_parameter_itself_is_refused():
    w = np.ones(4)
    with pytest.raises(ValueError, match=r"grads\[0\] overlaps params\[0\]"):
        SGD().bind([w]).step([w])


def test_the_number_of_gradients_must_be_that_of_parameters():
    with pytest.raises(ValueError, match="1 gradients for 2 parameters"):
        SGD().bind([np.ones(2), np.ones(2)]).step([np.ones(2)])


def test_gradients_by_name_are_refused_with_what_to_pass():
    stepper = SGD().bind({"w": np.ones(2), "b": np.ones(1)})
    with pytest.raises(ValueError, match="pass the values of the dict as a list"):
        stepper.step({"w": np.ones(2), "b": np.ones(1)})


def test_fortran_parameters_take_fortran_gradients():
    w = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    g = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    SGD(lr=1.0).bind(w).step(g)
    assert (w == 0).all()


def test_empty_and_zero_dimensional_arrays_are_fine():
    empty, scalar = np.ones((0, 3)), np.array(2.0)
    SGD(lr=1.0).bind([empty, scalar]).step([np.ones((0, 3)), np.array(0.5)])
    assert scalar == 1.5


class Exporter:
    """Any other library's array: only the interface."""

    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__
        self.owner = array


def test_anything_with_an_array_interface_is_updated_in_place():
    w = np.ones(3)
    SGD(lr=1.0).bind(Exporter(w)).step([Exporter(np.ones(3))])
    assert (w == 0).all()


class Dlpack:
    """An exporter of DLPack only."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_anything_with_dlpack_is_updated_in_place():
    w = np.ones(3)
    SGD(lr=1.0).bind(Dlpack(w)).step([Dlpack(np.ones(3))])
    assert (w == 0).all()


def test_torch_parameters_are_updated_in_place_and_autograd_is_told():
    torch = pytest.importorskip("torch")
    w = torch.nn.Parameter(torch.ones(3))
    version = w._version
    loss = (w * 3).sum()
    loss.backward()
    fastopt.SGD(lr=1.0).bind([w]).step([w.grad])
    assert w.tolist() == [-2.0] * 3
    assert w._version > version


def test_new_torch_gradients_each_step_are_followed():
    torch = pytest.importorskip("torch")
    w = torch.zeros(3)
    stepper = fastopt.SGD(lr=1.0).bind([w])
    for i in range(4):
        stepper.step([torch.full((3,), float(i))])
    assert w.tolist() == [-6.0] * 3


def test_a_gradient_whose_torch_storage_moved_is_followed():
    torch = pytest.importorskip("torch")
    w, g = torch.zeros(3), torch.ones(3)
    stepper = fastopt.SGD(lr=1.0).bind([w])
    stepper.step([g])
    g.data = torch.full((3,), 10.0)
    stepper.step([g])
    assert w.tolist() == [-11.0] * 3


def test_bfloat16_tensors_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"params\[0\]"):
        fastopt.SGD().bind([torch.ones(3, dtype=torch.bfloat16)])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    cut=st.tuples(st.integers(0, 2), st.integers(1, 3)),
    order=st.sampled_from("CF"),
)
def test_any_layout_is_updated_exactly_or_refused_untouched(shape, cut, order):
    base = np.ones([n + cut[0] for n in shape], order=order)
    w = base[tuple(slice(cut[0], None, cut[1]) for _ in shape)] if shape else base
    g = np.full(w.shape, 0.25, order=order)
    try:
        stepper = SGD(lr=1.0).bind([w])
    except ValueError:
        assert not w.flags.c_contiguous
        assert not w.flags.f_contiguous
        assert (base == 1).all()
        return
    stepper.step([g if g.strides == w.strides else np.full_like(w, 0.25)])
    assert (w == 0.75).all()
    assert base.sum() == base.size - 0.25 * w.size
