"""The bound stepper on arrays in simulated CUDA memory: what the CPU's does, with the same bits."""

import types

import numpy as np
import pytest
from reference.problems import SHAPES, problem
from test_cuda_update import own_rule  # noqa: F401  registered

import fastopt
from fastopt import SGD, Adam, AdamW
from fastopt.kernels.cuda import api as cuda
from fastopt.schedules import cosine, linear
from fastopt.stepping import cuda_stepper

to_device = cuda.module().to_device


def both(params, steps):
    """Return copies of a problem for the GPU."""
    return [to_device(p) for p in params], [[to_device(g) for g in grads] for grads in steps]


def assert_equal(on_gpu, on_cpu):
    for actual, expected in zip(on_gpu, on_cpu, strict=True):
        np.testing.assert_array_equal(actual.copy_to_host(), expected)


def assert_same_state(actual, expected):
    assert actual["param_groups"] == expected["param_groups"]
    assert actual["state"].keys() == expected["state"].keys()
    for i, state in expected["state"].items():
        assert actual["state"][i].keys() == state.keys()
        for name, value in state.items():
            np.testing.assert_array_equal(actual["state"][i][name], value)


@pytest.mark.parametrize("name", fastopt.list_optimizers())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_optimizer_steps_as_on_the_cpu(name, dtype):
    params, steps = problem(dtype, n_steps=4)
    device_params, device_steps = both(params, steps)
    optimizer = fastopt.get_optimizer(name, maximize=True)
    on_cpu = optimizer.bind(params)
    if on_cpu.bound.tensorwise or optimizer.needs == "closure":
        with pytest.raises(TypeError, match="looks at whole arrays, which is not done on a GPU"):
            optimizer.bind(device_params)
        return
    on_gpu = optimizer.bind(device_params)
    for grads, device_grads in zip(steps, device_steps, strict=True):
        on_cpu.step(grads, grad_scale=0.5)
        on_gpu.step(device_grads, grad_scale=0.5)
    assert_equal(device_params, params)
    assert_same_state(on_gpu.state_dict(), on_cpu.state_dict())
    assert on_gpu.nbytes == on_cpu.nbytes


def test_schedules_go_on_as_on_the_cpu():
    params, steps = problem(np.float64, n_steps=6)
    device_params, device_steps = both(params, steps)
    optimizer = AdamW(lr=cosine(0.1, 5), betas=(linear(0.8, 4, 0.9), 0.99))
    on_cpu, on_gpu = optimizer.bind(params), optimizer.bind(device_params)
    for grads, device_grads in zip(steps, device_steps, strict=True):
        on_cpu.step(grads)
        on_gpu.step(device_grads)
    assert_equal(device_params, params)
    assert_same_state(on_gpu.state_dict(), on_cpu.state_dict())


def test_what_is_not_done_on_a_gpu_is_refused():
    params, steps = problem(np.float32, n_steps=1)
    device_params, device_steps = both(params, steps)
    for wrapper in (fastopt.EMA, fastopt.Cautious, fastopt.Centralize, fastopt.GradientNoise, fastopt.SAM):
        with pytest.raises(TypeError, match="wrappers are for arrays in CPU memory"):
            wrapper(Adam()).bind(device_params)
    with pytest.raises(TypeError, match="state_dtype='int8' keeps codes of its state, which is not done"):
        Adam(state_dtype="int8").bind(device_params)
    stepper = fastopt.ScheduleFreeAdamW().bind(device_params)
    stepper.step(device_steps[0])
    with pytest.raises(TypeError, match="weights for evaluation"):
        stepper.eval()
    sparse = fastopt.SparseAdam().bind(device_params)
    with pytest.raises(TypeError, match="rows"):
        sparse.step([(np.array([0]), np.ones((1, 7), np.float32)), None, None, None])


def test_a_users_own_rule_steps_as_on_the_cpu():
    fastopt.register("own", slots=("seen",), constants=lambda h, t: (h["lr"],), defaults={"lr": 0.1})(own)
    params, steps = problem(np.float32, n_steps=3)
    device_params, device_steps = both(params, steps)
    on_cpu, on_gpu = (fastopt.get_optimizer("own").bind(p) for p in (params, device_params))
    for grads, device_grads in zip(steps, device_steps, strict=True):
        on_cpu.step(grads)
        on_gpu.step(device_grads)
    assert_equal(device_params, params)


def own(w, g, seen, lr):
    seen = 0.9 * seen + 0.1 * g
    return w - lr * seen if abs(seen) > 0.01 else w, seen


def groups(params):
    return [
        {"params": params[:1], "lr": 0.1, "momentum": 0.9},
        {"params": params[1:3], "weight_decay": 0.3},
        {"params": params[3:], "momentum": 0.5, "nesterov": True},
    ]


def test_groups_live_values_and_skipped_gradients_follow_the_cpu():
    params, steps = problem(np.float64, n_steps=6)
    device_params, device_steps = both(params, steps)
    steppers = [SGD(lr=0.01).bind(groups(p)) for p in (params, device_params)]
    for t, pair in enumerate(zip(steps, device_steps, strict=True)):
        for stepper, grads in zip(steppers, pair, strict=True):
            if t == 2:
                stepper.param_groups[0]["lr"] = 0.05
            if t == 3:
                stepper.param_groups[1]["momentum"] = 0.7  # another rule, with a slot that was not there
            stepper.step([None if t == 4 and i == 1 else g for i, g in enumerate(grads)])
    assert_equal(device_params, params)
    assert_same_state(*(stepper.state_dict() for stepper in reversed(steppers)))


def test_both_dtypes_may_be_bound_together():
    params = [np.ones(40, np.float32), np.ones(7), np.ones(9, np.float32)]
    grads = [np.full_like(p, 0.5) for p in params]
    device_params, (device_grads,) = both(params, [grads])
    for bound, given in ((params, grads), (device_params, device_grads)):
        AdamW().bind(bound).step(given)
    assert_equal(device_params, params)


def test_arrays_bound_later_join():
    a, b = to_device(np.zeros(3)), to_device(np.zeros(5))
    stepper = SGD(lr=1.0).bind(a)
    stepper.step(to_device(np.ones(3)))
    stepper.add_param_group({"params": b, "lr": 0.5})
    stepper.step([to_device(np.ones(3)), to_device(np.ones(5))])
    assert_equal([a, b], [np.full(3, -2.0), np.full(5, -0.5)])


def test_a_state_moves_between_the_cpu_and_the_gpu():
    params, steps = problem(np.float32, n_steps=4)
    device_params, device_steps = both(params, steps)
    first, second = Adam().bind(params), Adam().bind(device_params)
    first.step(steps[0])
    second.load_state_dict(first.state_dict())
    second.step(device_steps[1])
    first.load_state_dict(second.state_dict())
    first.step(steps[2])
    saved = second.state_dict()
    for state in saved["state"].values():  # as arrays on the GPU, too
        state.update({k: to_device(v) for k, v in state.items() if isinstance(v, np.ndarray)})
    second.load_state_dict(saved)
    second.step(device_steps[2])
    assert_same_state(second.state_dict(), first.state_dict())


def test_fortran_order_empty_and_zero_dimensional_arrays_are_fine():
    rng = np.random.default_rng(0)
    params = [np.asfortranarray(rng.normal(size=(3, 4))), np.ones((0, 3)), np.array(2.0)]
    grads = [np.asfortranarray(rng.normal(size=(3, 4))), np.ones((0, 3)), np.array(0.5)]
    device_params, (device_grads,) = both(params, [grads])
    for bound, given in ((params, grads), (device_params, device_grads)):
        stepper = Adam().bind(bound)
        stepper.step(given)
    assert_equal(device_params, params)
    assert stepper.state_dict()["state"][0]["exp_avg"].flags.c_contiguous


def test_new_gradients_each_step_are_followed():
    w, v = to_device(np.zeros(3)), to_device(np.zeros(2))
    stepper = SGD(lr=1.0).bind([w, v])
    kept = []
    for i in range(2 * cuda_stepper._UPLOADS):
        kept.append([to_device(np.full(3, float(i))), to_device(np.full(2, 1.0))])
        stepper.step(kept[-1])
    total = sum(range(2 * cuda_stepper._UPLOADS))
    assert_equal([w, v], [np.full(3, -total), np.full(2, -2 * cuda_stepper._UPLOADS)])


def test_a_step_reads_nothing_back_and_waits_for_nothing(monkeypatch):
    params, steps = problem(np.float32, n_steps=3)
    device_params, device_steps = both(params, steps)
    stepper = Adam().bind(device_params)

    def refuse(*args, **options):
        raise AssertionError("a step may not wait for the GPU")

    for name in ("to_host", "to_device"):
        monkeypatch.setattr(cuda, name, refuse)
    monkeypatch.setattr(cuda.module(), "synchronize", refuse)
    monkeypatch.setattr(type(device_params[0]), "copy_to_host", refuse)
    for grads in device_steps:
        stepper.step(grads)


def launches(stepper, grads, monkeypatch):
    """Return the grids of a step's launches."""
    seen = []
    kernel_class = type(cuda.module().jit(lambda: None))
    original = kernel_class.__getitem__
    monkeypatch.setattr(kernel_class, "__getitem__", lambda k, at: seen.append(at) or original(k, at))
    stepper.step(grads)
    return seen


@pytest.mark.parametrize("shapes", [((70,),), SHAPES])
def test_one_launch_updates_everything(shapes, monkeypatch):
    params = [np.ones(shape, np.float32) for shape in shapes]
    device_params, (device_grads,) = both(params, [params])
    assert len(launches(Adam().bind(device_params), device_grads, monkeypatch)) == 1


def strided():
    return to_device(np.ones((4, 4)))[:, ::2]


def of_type(dtype):
    return lambda: to_device(np.ones(4, dtype))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (strided, ValueError, r"params\[0\] is strided"),
        (of_type(np.int64), TypeError, "dtype int64"),
        (of_type(np.float16), TypeError, "dtype float16"),
        (of_type(">f8"), TypeError, "dtype >f8"),
    ],
)
def test_an_unfit_parameter_is_refused_by_name_and_reason(make, error, words):
    with pytest.raises(error, match=words):
        SGD().bind([make()])


def test_arrays_of_both_kinds_of_memory_are_refused_together():
    host, device = np.ones(3), to_device(np.ones(3))
    with pytest.raises(
        TypeError, match=r"params\[1\] \(numpy.ndarray\) is not in CUDA memory, but params\[0\] is"
    ):
        SGD().bind([device, host])
    with pytest.raises(TypeError, match=r"params\[1\] is in CUDA memory .* but params\[0\] is in CPU memory"):
        SGD().bind([host, device])


def test_the_same_memory_twice_is_refused():
    w = to_device(np.ones(10))
    with pytest.raises(ValueError, match=r"params\[1\] is the same memory as params\[0\]"):
        SGD().bind([w, w])
    with pytest.raises(ValueError, match=r"params\[1\] overlaps params\[0\]"):
        SGD().bind([w[:6], w[5:]])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: np.ones((3, 4)),
            TypeError,
            r"grads\[0\] \(numpy.ndarray\) is not in CUDA memory, but params\[0\]",
        ),
        (lambda: [[1.0] * 4] * 3, TypeError, r"grads\[0\] \(list\) is not in CUDA memory"),
        (lambda: to_device(np.ones((3, 4), np.float32)), TypeError, r"grads\[0\] has dtype float32"),
        (lambda: to_device(np.ones((4, 3))), ValueError, r"grads\[0\] has shape \(4, 3\)"),
        (lambda: to_device(np.asfortranarray(np.ones((3, 4)))), ValueError, r"grads\[0\] has strides"),
    ],
)
def test_an_unfit_gradient_is_refused_and_nothing_changes(make, error, words):
    w = to_device(np.ones((3, 4)))
    stepper = SGD(momentum=0.9).bind([w])
    stepper.step([to_device(np.zeros((3, 4)))])
    with pytest.raises(error, match=words):
        stepper.step([make()])
    assert_equal([w], [np.ones((3, 4))])
    assert stepper.state_dict()["state"][0]["step"] == 1


def test_a_gradient_that_is_the_parameter_itself_is_refused():
    w = to_device(np.ones(4))
    with pytest.raises(ValueError, match=r"grads\[0\] overlaps params\[0\]"):
        SGD().bind([w]).step([w])


def test_a_gpu_gradient_of_a_cpu_parameter_is_refused():
    with pytest.raises(TypeError, match=r"grads\[0\] is in CUDA memory"):
        SGD().bind(np.ones(3)).step(to_device(np.ones(3)))


def test_threads_are_for_the_cpu():
    with pytest.raises(ValueError, match="n_threads=2 is for arrays in CPU memory"):
        SGD().bind(to_device(np.ones(3)), n_threads=2)


def test_torch_tensors_on_a_gpu_are_stepped_on_torchs_current_stream(monkeypatch):
    """Through the branches for torch, with tensors that only say that they are on a GPU."""
    torch = pytest.importorskip("torch")

    class OnGpu(torch.Tensor):
        device = torch.device("cuda:0")

        @property
        def __array_interface__(self):
            return self.as_subclass(torch.Tensor).detach().numpy().__array_interface__

    OnGpu.__cuda_ndarray__ = True
    seen = []
    monkeypatch.setattr(
        torch.cuda,
        "current_stream",
        lambda device: seen.append(device) or types.SimpleNamespace(cuda_stream=7),
    )
    params, steps = problem(np.float32, n_steps=3)
    tensors = [torch.nn.Parameter(torch.tensor(p).as_subclass(OnGpu)) for p in params]
    assert all(isinstance(tensor, OnGpu) for tensor in tensors)
    versions = [tensor._version for tensor in tensors]
    on_cpu, on_gpu = Adam().bind(params), Adam().bind(tensors)
    for grads in steps:
        on_cpu.step(grads)
        on_gpu.step([torch.tensor(g).as_subclass(OnGpu) for g in grads])
    for tensor, expected, version in zip(tensors, params, versions, strict=True):
        np.testing.assert_array_equal(tensor.as_subclass(torch.Tensor).detach().numpy(), expected)
        assert tensor._version > version
    assert seen == 3 * [OnGpu.device]
    with pytest.raises(TypeError, match=r"grads\[0\] \(torch.Tensor\) is not in CUDA memory"):
        on_gpu.step([torch.tensor(g) for g in steps[0]])
