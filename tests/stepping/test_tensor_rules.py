"""Optimizers that look at whole tensors: matrices, factors, losses; awkward inputs to all."""

import platform
import re

import numba
import numpy as np
import pytest
import scipy.linalg
from numba import cfunc
from reference import catalogue_oracles as oracles
from reference.problems import advance, distance, problem

import fastopt
from fastopt.kernels import code_cache, reductions
from fastopt.rules import layerwise, matrix
from fastopt.rules.tensorwise import TENSOR_RULES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MATRICES = ((5, 7), (9, 4), (6, 6), (1, 3))


def run(optimizer, params, steps, **options):
    stepper = optimizer.bind(params, **options)
    for grads in steps:
        advance(stepper, optimizer, grads)
    return stepper


def scales(adjust, layout):
    def scale(rows, columns):
        out, into = (rows, columns) if layout == "oi" else (columns, rows)
        return 0.2 * max(out, into) ** 0.5 if adjust else max(1.0, out / into) ** 0.5

    return scale


@pytest.mark.parametrize("layout", ["io", "oi"])
@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_is_a_polynomial_of_the_singular_values(layout, adjust, nesterov):
    params, steps = problem(np.float64, n_steps=12, shapes=(*MATRICES[:2], (67,)))
    expected = oracles.muon(
        params[:2],
        [grads[:2] for grads in steps],
        lr=0.02, mu=0.95, wd=0.1, nesterov=nesterov, scale=scales(adjust, layout),
    )  # fmt: skip
    run(fastopt.Muon(lr=0.02, layout=layout, adjust_lr_fn=adjust, nesterov=nesterov), params, steps)
    # The oracle goes through the SVD; five iterations multiply a rounding of the smallest values by 3.4^5.
    assert distance(params[:2], expected) <= 1e-10


@pytest.mark.parametrize("layout", ["io", "oi"])
def test_normuon_evens_out_the_outputs(layout):
    params, steps = problem(np.float64, n_steps=12, shapes=MATRICES[:2])
    h = {"lr": 0.02, "mu": 0.95, "wd": 0.1, "b2": 0.95, "scale": scales(None, layout)}
    expected = oracles.normuon(params, steps, **h, axis=1 if layout == "oi" else 0)
    run(fastopt.NorMuon(weight_decay=0.1, layout=layout), params, steps)
    assert distance(params, expected) <= 1e-10  # as above


@pytest.mark.parametrize("root", [2, 4])
def test_shampoo_multiplies_by_roots_of_its_sums(root):
    params, steps = problem(np.float64, n_steps=12, shapes=MATRICES[:3])
    expected = oracles.shampoo(params, steps, lr=0.1, eps=1e-2, root=root, wd=0.1)
    run(fastopt.Shampoo(lr=0.1, eps=1e-2, root=root, weight_decay=0.1), params, steps)
    assert distance(params, expected) <= 1e-10  # another algorithm for the roots


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 16, 70])
def test_bases_are_scipys_to_the_bit(n, dtype):
    turned = np.random.default_rng(n).standard_normal((n, n)).astype(dtype)
    expected, _ = scipy.linalg.qr(turned, mode="economic")  # the same routines of LAPACK
    np.testing.assert_array_equal(matrix._orthonormal(turned[:, :].copy()), expected)


def test_soap_is_adam_in_a_turning_basis():
    """Square and of full rank: elsewhere the eigenbasis is not unique, and right answers differ by 12 %."""
    params, steps = problem(np.float64, n_steps=25, shapes=((6, 6), (5, 5)))
    steps = [grads for t, grads in enumerate(steps) if t != 7]  # a gradient of 0 has no basis either
    h = {"lr": 0.01, "b1": 0.95, "b2": 0.95, "eps": 1e-8, "wd": 0.1, "every": 5}
    expected = oracles.soap(params, steps, **h)
    run(fastopt.SOAP(lr=0.01, weight_decay=0.1, precondition_frequency=5), params, steps)
    # A basis of close eigenvalues magnifies roundings: 1e-9 was measured.
    assert distance(params, expected) <= 1e-7


def test_muon_is_that_of_torch_but_for_its_bfloat16():
    torch = pytest.importorskip("torch")
    params, steps = problem(np.float32, n_steps=10, shapes=MATRICES[:3])
    steps = [[g + np.float32(0.5) for g in grads] for grads in steps]
    tensors = [torch.tensor(p) for p in params]
    reference = torch.optim.Muon(tensors, lr=0.02)
    stepper = fastopt.Muon(lr=0.02, layout="oi").bind(params)
    for grads in steps:
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        reference.step()
        stepper.step(grads)
    assert distance(params, tensors) <= 2e-2
    ours, theirs = stepper.state_dict()["state"], reference.state_dict()["state"]
    slots = [[state[i]["momentum_buffer"] for i in range(3)] for state in (ours, theirs)]
    assert distance(*slots) <= 2e-6
    others = [tensor.clone() for tensor in tensors]
    loaded = fastopt.Muon(layout="oi").bind(others)
    loaded.load_state_dict(reference.state_dict())
    stepper.step(steps[0])
    loaded.step(steps[0])
    assert distance(params, others) <= 2e-2
    torch.optim.Muon(others).load_state_dict(loaded.state_dict())


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion"])
def test_muons_fallback_updates_what_is_no_matrix(name):
    params, steps = problem(np.float64, n_steps=5, shapes=((67,), (5,), (), (2, 3, 4)))
    alone = [p.copy() for p in params]
    run(fastopt.Muon(lr=0.01, fallback=name, fallback_lr=0.03, weight_decay=0.2), params, steps)
    run(fastopt.get_optimizer(name, lr=0.03, weight_decay=0.2), alone, steps)
    for a, b in zip(params, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mars_leaves_what_is_no_matrix_to_adamw():
    params, steps = problem(np.float64, n_steps=5, shapes=((67,), (5,), ()))
    alone = [p.copy() for p in params]
    run(fastopt.MARS(lr=0.01, lr_1d=0.02), params, steps)
    run(fastopt.AdamW(lr=0.02, betas=(0.9, 0.95), weight_decay=0.1), alone, steps)
    assert distance(params, alone) == 0


@pytest.mark.parametrize("fallback", ["muon", "lamb", "nothing"])
def test_a_fallback_that_is_not_elementwise_is_refused(fallback):
    with pytest.raises(
        ValueError, match="fallback must be the name of an optimizer that updates each weight"
    ):
        fastopt.Muon(fallback=fallback).bind(np.ones((2, 2)))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "kwargs", [{}, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, {"eps": (1e-3, 1e-2), "d": 1.5}]
)
def test_adafactor_is_that_of_torch(kwargs, order):
    torch = pytest.importorskip("torch")
    params, steps = problem(np.float64, n_steps=100, shapes=(*MATRICES, (67,), (), (3, 4, 5), (2, 3, 2, 2)))
    params = [np.asarray(p, order=order) for p in params]
    tensors = [torch.tensor(p) for p in params]
    reference = torch.optim.Adafactor(tensors, **kwargs)
    stepper = fastopt.Adafactor(**kwargs).bind(params)
    for grads in steps:
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        reference.step()
        stepper.step([np.asarray(g, order=order) for g in grads])
    # Its step divides by the root mean square of weights near 1e-3 and feeds norms back: 1e-13 at worst.
    assert distance(params, tensors) <= 1e-12
    ours, theirs = stepper.state_dict()["state"], reference.state_dict()["state"]
    for i, saved in theirs.items():
        slots = {key: value for key, value in saved.items() if value is not None}
        assert set(slots) == set(ours[i])
        for key, value in slots.items():
            np.testing.assert_allclose(ours[i][key], value, rtol=1e-10)


def test_mechanic_scales_the_steps_of_another_optimizer():
    params, steps = problem(np.float64, n_steps=25, shapes=((5, 7), (67,)))
    buffers = [np.zeros_like(p) for p in params]

    def momentum(p, grads):
        for b, g in zip(buffers, grads, strict=True):
            b[...] = 0.9 * b + g
        return [q - 0.1 * b for q, b in zip(p, buffers, strict=True)]

    expected = oracles.mechanic(params, steps, momentum, s_init=1e-2)
    assert distance(expected, params) > 1e-3
    ours = [p.copy() for p in params]
    mechanic = fastopt.Mechanic(base="momentum", lr=0.1, s_init=1e-2)
    stepper = run(mechanic, ours, steps[:12])
    saved, copies = stepper.state_dict(), [p.copy() for p in ours]
    for grads in steps[12:]:
        stepper.step(grads)
    # The learned factor divides by roots of sums of small products.
    assert distance(ours, expected) <= 1e-10
    restored = mechanic.bind(copies)
    restored.load_state_dict(saved)
    for grads in steps[12:]:
        restored.step(grads)
    for a, b in zip(copies, ours, strict=True):
        np.testing.assert_array_equal(a, b)
    assert stepper.nbytes == 3 * sum(p.nbytes for p in ours)
    stepper.add_param_group({"params": np.ones(3)})
    stepper.step([*steps[0], np.ones(3)])
    assert [s["step"] for s in stepper.state_dict()["base"]["state"].values()] == [26, 26, 1]


@pytest.mark.parametrize("base", ["mechanic", "polyaksgd", "schedulefreesgd", "nothing"])
def test_mechanic_refuses_a_base_that_needs_more_than_gradients(base):
    with pytest.raises(ValueError, match="'adamw'"):
        fastopt.Mechanic(base=base).bind(np.ones(3))


@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_span_chunks(order):
    """Three chunks of 16,384 elements, the last one short; for rows and columns, too."""
    torch = pytest.importorskip("torch")
    params, steps = problem(np.float64, n_steps=4, shapes=((211, 193), (40_001,)))
    steps = [[np.asarray(g, order=order) for g in grads] for grads in steps]
    expected = oracles.lamb(params, steps, lr=0.01, b1=0.9, b2=0.999, eps=1e-6, wd=0.1, inside=True)
    ours = [np.array(p, order=order) for p in params]
    run(fastopt.LAMB(lr=0.01, weight_decay=0.1), ours, steps)
    assert distance(ours, expected) <= 1e-12
    ours, tensors = [np.array(p, order=order) for p in params], [torch.tensor(p) for p in params]
    reference = torch.optim.Adafactor(tensors)
    stepper = fastopt.Adafactor().bind(ours)
    for grads in steps:
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        reference.step()
        stepper.step(grads)
    assert distance(ours, tensors) <= 1e-12


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86 assembly")
def test_sweeps_are_vectorised_and_add_up_in_double(monkeypatch):
    monkeypatch.setattr(code_cache, "cfunc", cfunc)
    kernel = reductions.sweep_kernel.__wrapped__(layerwise._lamb_moments, "float32")
    assembly = kernel._library.get_asm_str()
    assert re.search(r"sqrtps\b", assembly)
    assert re.search(r"addpd\b", assembly)
    assert not re.search(r"sqrts?[pd]d\b", assembly)


NOT_BY_PLACE = (set(TENSOR_RULES) & set(fastopt.list_optimizers())) - {"noisysgd"}  # counts in memory


@pytest.mark.parametrize("name", sorted(NOT_BY_PLACE))
def test_fortran_order_gives_the_same_numbers(name):
    optimizer = fastopt.get_optimizer(name)
    results = []
    for order in "CF":
        params, steps = problem(np.float64, n_steps=5, shapes=MATRICES)
        params = [np.asarray(p, order=order) for p in params]
        run(optimizer, params, [[np.asarray(g, order=order) for g in grads] for grads in steps])
        results.append(params)
    assert distance(*results) <= 1e-12  # sums in another order


@pytest.mark.parametrize("name", sorted(set(TENSOR_RULES) & set(fastopt.list_optimizers()) - {"lbfgs"}))
def test_the_bits_of_matrices_do_not_depend_on_the_number_of_threads(name):
    """Large enough for a region; what BLAS computes is held to one thread."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("Numba has one thread here")
    results = []
    for n_threads in (1, 2):
        params, steps = problem(np.float32, n_steps=2, shapes=((350, 330), (40, 7)))
        run(fastopt.get_optimizer(name), params, steps, n_threads=n_threads)
        results.append(params)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", fastopt.list_optimizers())
def test_awkward_arrays_are_updated_and_stay_finite(name):
    """No gradient at all, weights of 0, one element, none, no axis, huge and tiny numbers."""
    optimizer = fastopt.get_optimizer(name)
    for dtype in (np.float64, np.float32):
        shapes = ((3, 4), (3, 4), (4,), (1, 1), (1,), (), (0,), (0, 3), (2, 0))
        params = [np.ones(shape, dtype) for shape in shapes]
        params[1][:] = params[2][:] = 0
        grads = [np.full(shape, 0.5, dtype) for shape in shapes]
        grads[0][:] = 0
        grads[3][:] = 1e-12
        grads[4][:] = 1e12
        stepper = optimizer.bind(params)
        for _ in range(4):
            advance(stepper, optimizer, grads)
        assert all(np.isfinite(p).all() for p in params)
        assert all((g == np.full(g.shape, g.ravel()[:1], dtype)).all() for g in grads if g.size)
        stepper.load_state_dict(stepper.state_dict())


@pytest.mark.parametrize("name", fastopt.list_optimizers())
def test_one_buffer_may_hold_every_gradient(name):
    """pytorch_optimizer keeps the last gradient of MARS by reference; a reused buffer then changes it."""
    optimizer = fastopt.get_optimizer(name)
    params, steps = problem(np.float64, n_steps=6, shapes=((5, 7), (67,)))
    others = [p.copy() for p in params]
    run(optimizer, params, steps)
    buffers = [np.empty_like(p) for p in params]
    stepper = optimizer.bind(others)
    for grads in steps:
        for buffer, g in zip(buffers, grads, strict=True):
            buffer[...] = g
        advance(stepper, optimizer, buffers)
    for a, b in zip(params, others, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "optimizer", [fastopt.LAMB(lr=0.1, weight_decay=0.1), fastopt.Muon(lr=0.1), fastopt.SM3()]
)
def test_groups_and_skipped_gradients_are_those_of_steppers_apart(optimizer):
    params, steps = problem(np.float64, n_steps=6, shapes=((5, 7), (4, 3)))
    alone = [p.copy() for p in params]
    a, b = optimizer.bind(alone[0]), type(optimizer)(lr=0.01).bind(alone[1])
    both = optimizer.bind(
        [{"params": params[0]}, {"params": params[1]} | type(optimizer)(lr=0.01).get_params()]
    )
    for i, (first, second) in enumerate(steps):
        both.step([first if i % 2 else None, second])
        b.step(second)
        if i % 2:
            a.step(first)
    for one, other in zip(params, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [both.state_dict()["state"][i]["step"] for i in (0, 1)] == [3, 6]


def test_a_number_for_all_tensors_spans_groups_and_dtypes():
    params, steps = problem(np.float64, n_steps=20, shapes=((5, 7), (67,)))
    together, apart = [p.copy() for p in params], [p.copy() for p in params]
    run(fastopt.Prodigy(d0=1e-3), together, steps)
    groups = [{"params": [p]} for p in apart]
    stepper = run(fastopt.Prodigy(d0=1e-3), groups, steps)
    assert distance(together, apart) == 0
    state = stepper.state_dict()["state"]
    assert state[0]["d"] == state[1]["d"] > 1e-3
    mixed = [params[0], params[1].astype(np.float32)]
    steps = [[g, h.astype(np.float32)] for g, h in steps]
    run(fastopt.Prodigy(d0=1e-3), mixed, steps)
    assert distance(mixed, together) <= 1e-5  # float32 on one side


def test_a_changed_value_counts_and_a_changed_flag_parts_groups():
    params, steps = problem(np.float64, n_steps=4, shapes=((5, 7), (4, 3)))
    expected = oracles.lamb(params, steps[:2], lr=0.01, b1=0.9, b2=0.999, eps=1e-6, wd=0, inside=True)
    stepper = run(fastopt.LAMB(lr=0.01), params, steps[:2])
    assert distance(params, expected) <= 1e-12
    for group in stepper.param_groups:
        group["lr"] = 0.0
    stepper.step(steps[2])
    assert distance(params, expected) <= 1e-12
    stepper.param_groups[0].update(lr=0.01, weight_decay=0.5, decay_in_ratio=False)
    stepper.add_param_group({"params": np.ones((2, 2)), "decay_in_ratio": True})
    stepper.step([*steps[3], np.ones((2, 2))])
    assert [s["step"] for s in stepper.state_dict()["state"].values()] == [4, 4, 1]


def test_the_noise_is_gaussian_and_differs_by_element_step_parameter_and_seed():
    n = 100_000
    draws = []
    for seed in (0, 1):
        params = [np.zeros(n), np.zeros(n)]
        stepper = fastopt.NoisySGD(lr=1.0, eta=1.0, gamma=0.0, seed=seed).bind(params)
        for _ in range(2):
            before = [p.copy() for p in params]
            stepper.step([np.zeros(n)] * 2)
            draws += [p - b for p, b in zip(params, before, strict=True)]
    # Five standard errors of each moment, and of the correlation of two samples.
    error = 5 / np.sqrt(n)
    for x in draws:
        assert abs(x.mean()) < error
        assert abs(x.var() - 1) < error * np.sqrt(2)
        assert abs((x**3).mean()) < error * np.sqrt(15)
        assert abs((x**4).mean() - 3) < error * np.sqrt(96)
        assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < error
    correlations = np.corrcoef(draws)
    assert np.abs(correlations - np.eye(len(draws))).max() < error


def test_a_closure_takes_the_place_of_gradients_and_loss():
    params, steps = problem(np.float64, n_steps=3, shapes=((5, 7), (67,)))
    for optimizer in (fastopt.Adam(), fastopt.PolyakSGD(lr=0.1)):
        ours, others = ([p.copy() for p in params] for _ in range(2))
        a, b = optimizer.bind(ours), optimizer.bind(others)
        for grads in steps:
            assert a.step(closure=lambda grads=grads: (3.0, grads)) == 3.0
            b.step(grads, **({"loss": 3.0} if optimizer.needs else {}))
        assert distance(ours, others) == 0
        with pytest.raises(TypeError, match="takes the place of grads and loss"):
            a.step(steps[0], closure=lambda: (3.0, steps[0]))
        with pytest.raises(TypeError, match="needs gradients or a closure"):
            a.step()


def test_a_loss_is_demanded_by_those_that_need_it_and_refused_by_others():
    w = np.ones(2)
    with pytest.raises(
        TypeError, match=r"PolyakSGD needs the loss at the present weights: step\(grads, loss="
    ):
        fastopt.PolyakSGD().bind(w).step(np.ones(2))
    with pytest.raises(TypeError, match="Adam takes no loss"):
        fastopt.Adam().bind(w).step(np.ones(2), loss=1.0)
    assert (w == 1).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_sophia_averages_the_estimates_that_it_is_given(order):
    params, steps = problem(np.float64, n_steps=12, shapes=((5, 7), (67,)))
    rng = np.random.default_rng(1)
    hessians = {t: [rng.chisquare(1, size=p.shape) for p in params] for t in (0, 5)}
    h = {"lr": 0.01, "b1": 0.965, "b2": 0.99, "rho": 0.04, "wd": 0.1}
    expected = oracles.sophia(params, steps, hessians, **h)
    params = [np.asarray(p, order=order) for p in params]
    stepper = fastopt.SophiaG(lr=0.01).bind(params)
    for t, grads in enumerate(steps):
        estimates = [np.asarray(e, order=order) for e in hessians[t]] if t in hessians else None
        stepper.step([np.asarray(g, order=order) for g in grads], hessian=estimates)
    assert distance(params, expected) <= 1e-12


def test_sophia_may_take_the_squared_gradient_for_an_estimate():
    params, steps = problem(np.float64, n_steps=12, shapes=((5, 7), (67,)))
    hessians = {t: [30 * g**2 for g in steps[t]] for t in (0, 4, 8)}
    h = {"lr": 0.01, "b1": 0.965, "b2": 0.99, "rho": 0.04, "wd": 0.1}
    expected = oracles.sophia(params, steps, hessians, **h)
    run(fastopt.SophiaG(lr=0.01, empirical_fisher=30.0, update_freq=4), params, steps)
    assert distance(params, expected) <= 1e-12


def test_a_hessian_that_does_not_fit_is_refused_and_changes_nothing():
    w = np.ones(3)
    stepper = fastopt.SophiaG().bind(w)
    with pytest.raises(ValueError, match=r"hessian\[0\] has shape \(2,\)"):
        stepper.step([np.ones(3)], hessian=[np.ones(2)])
    with pytest.raises(ValueError, match="2 Hessian diagonals for 1 parameters"):
        stepper.step([np.ones(3)], hessian=[np.ones(3)] * 2)
    with pytest.raises(TypeError, match="Adam takes no hessian"):
        fastopt.Adam().bind(w).step([np.ones(3)], hessian=[np.ones(3)])
    assert (w == 1).all()
