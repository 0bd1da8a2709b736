"""Kernels: derived from the rules, vectorised, cached soundly, the same bits however they are cut."""

import itertools
import os
import platform
import re
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest
from numba import cfunc
from reference.kernel_cases import BUILT_IN, concurrent_steps, random_case, run_kernel
from reference.problems import advance

import fastopt
from fastopt.kernels import code_cache, elementwise, work_queue
from fastopt.rules.registry import RULES


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 3, 8, 67])
def test_a_kernel_computes_its_rule_element_by_element(name, dtype, n):
    rule = RULES[name]
    w, g, slots, constants = random_case(rule, dtype, n)
    expected = [
        rule(float(w[i]), float(g[i]), *map(float, slots[:, i]), *map(float, constants)) for i in range(n)
    ]
    run_kernel(rule, dtype, w, g, slots, constants, [0, n])
    actual = np.concatenate([w[None], slots]).T
    # A few roundings of numbers of order one, whose difference may be near 0; divisions amplify some.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(actual, np.reshape(expected, actual.shape), rtol=100 * eps, atol=10 * eps)


@pytest.mark.parametrize("name", BUILT_IN)
def test_any_cutting_into_chunks_gives_the_same_bits(name):
    rule = RULES[name]
    results = []
    for bounds in ([0, 203], [0, 1, 2, 50, 203], [0, 16, 48, 200, 203]):
        w, g, slots, constants = random_case(rule, np.float32, 203)
        run_kernel(rule, np.float32, w, g, slots, constants, bounds, (0.7, 0.1, 0.9))
        results.append(np.concatenate([w[None], slots]))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86 assembly")
@pytest.mark.parametrize("name", BUILT_IN)
def test_float32_kernels_are_vectorised_and_never_compute_in_double(name, monkeypatch):
    # Uncached: a cached kernel has no assembly.
    monkeypatch.setattr(code_cache, "cfunc", cfunc)
    kernel = elementwise.update_kernel.__wrapped__(RULES[name], "float32")
    assembly = kernel._library.get_asm_str()
    assert not re.search(r"cvtp?s?s2[sp]?d|(mul|add|sub|div|sqrt)[sp]d\b", assembly)
    assert re.search(r"(mul|add|sub)ps\b", assembly)


@pytest.mark.parametrize("name", sorted(fastopt.list_optimizers()))
def test_the_bits_do_not_depend_on_the_number_of_threads(name):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("Numba has one thread here")
    shapes = (170_001, 5, 20_000)  # large enough for a region, whatever the rule
    results = []
    for n_threads in (1, 2):
        rng = np.random.default_rng(0)
        params = [rng.normal(size=n).astype(np.float32) for n in shapes]
        optimizer = fastopt.get_optimizer(name)
        stepper = optimizer.bind(params, n_threads=n_threads)
        for _ in range(3):
            grads = [rng.normal(size=n).astype(np.float32) for n in shapes]
            advance(stepper, optimizer, grads)
        results.append(np.concatenate(params))
    np.testing.assert_array_equal(*results)


def test_a_step_leaves_the_number_of_threads_as_it_was():
    before = numba.get_num_threads()
    w = np.ones(work_queue.PARALLEL_BYTES, np.float32)
    fastopt.SGD().bind(w, n_threads=1).step(w.copy())
    fastopt.SGD().bind(w).step(w.copy())
    assert numba.get_num_threads() == before


def test_more_threads_than_numba_starts_are_refused():
    with pytest.raises(ValueError, match="n_threads=1000 is not between 1 and"):
        fastopt.SGD().bind(np.ones(3), n_threads=1000)


def test_two_learning_rates_compile_one_kernel():
    before = elementwise.update_kernel.cache_info().misses
    for lr in (0.1, 0.2):
        fastopt.Adam(lr=lr).bind(np.ones(3)).step(np.ones(3))
    assert elementwise.update_kernel.cache_info().misses - before <= 1


def test_work_is_cut_into_equal_pieces_on_cache_lines():
    sizes = [1000, 3, 0, 50_000, 777]
    work, bounds = work_queue.split(sizes, 3)
    covered = [np.zeros(size, int) for size in sizes]
    for row, lo, hi in work:
        covered[row][lo:hi] += 1
        assert lo % work_queue._EDGE == 0
    assert all((c == 1).all() for c in covered)
    pieces = [sum(hi - lo for _, lo, hi in work[a:b]) for a, b in itertools.pairwise(bounds)]
    assert max(pieces) - min(pieces) <= 2 * work_queue._EDGE


def test_two_python_threads_may_step_two_optimizers_at_once():
    a, b = concurrent_steps()
    np.testing.assert_array_equal(a, b)
    assert a[0] == pytest.approx(1 - 30 * 0.1, abs=1e-4)  # Adam moves by lr under a constant gradient


def python(code, **environment):
    """Run code in another process; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_workqueue_survives_two_python_threads_at_once():
    """Alone it would abort the process: numba#8563."""
    code = """
        import numba
        from reference.kernel_cases import concurrent_steps
        a, b = concurrent_steps()
        print(numba.threading_layer(), (a == b).all())
    """
    assert python(code, NUMBA_THREADING_LAYER="workqueue") == "workqueue True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_goes_on_stepping():
    code = """
        import os
        import numpy as np, fastopt
        w = np.ones(200_000, np.float32)
        stepper = fastopt.SGD(lr=1.0).bind(w)
        stepper.step([np.ones_like(w)])
        pid = os.fork()
        if pid == 0:
            stepper.step([np.ones_like(w)])
            os._exit(0 if (w == -1).all() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert python(code) == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_while_a_thread_is_in_a_parallel_region_runs_serially():
    """Under TBB 3 of 120 such children hung for ever."""
    code = """
        import os, threading
        import numpy as np, fastopt
        from fastopt.engine import Layout, Trainer
        from fastopt.kernels import threading_layer
        w = np.ones(200_000, np.float32)
        stepper = fastopt.SGD(lr=1.0).bind(w, n_threads=2)
        stepper.step([np.ones_like(w)])
        layout = Layout([500, 100, 1])
        functions = dict(activation="relu", out_activation="identity", loss="squared_error")
        trainer = Trainer(layout, dtype=np.float32, n_threads=2, **functions)
        update = fastopt.SGD(lr=0.0).flat(layout.size, layout.n_decay, np.float32)
        params, X = np.ones(layout.size, np.float32), np.ones((2000, 500), np.float32)
        train = lambda: trainer.train(params, X, X[:, :1].copy(), update, batch_size=200, alpha=0.1)
        train()
        inside, leave = threading.Event(), threading.Event()
        def stay():
            with threading_layer.region():
                inside.set()
                leave.wait()
        thread = threading.Thread(target=stay)
        thread.start()
        inside.wait()
        pid = os.fork()
        if pid == 0:
            stepper.step([np.ones_like(w)])
            train()
            serially = threading_layer.n_available() == 1 and trainer._last[1].plan(5)[0] == 1
            os._exit(0 if serially and (w == -1).all() else 1)
        leave.set()
        thread.join()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), threading_layer.is_stranded())
    """
    assert python(code) == "0 False"


RULE = """
import fastopt
@fastopt.register("mine", slots=("seen",), constants=lambda h, t: (h["lr"],), defaults={"lr": 1.0})
def mine(w, g, seen, lr):
    return w - FACTOR * lr * g, g
"""
STEP = """
    import sys; sys.path.insert(0, "FOLDER")
    import numpy as np, fastopt, own_rule
    from fastopt.kernels import elementwise
    w = np.zeros(3)
    fastopt.get_optimizer("mine").bind(w).step(np.ones(3))
    print(elementwise.update_kernel(own_rule.mine, "float64")._cache_hits, w[0])
"""


def test_the_disk_cache_hits_in_another_process_and_misses_after_an_edit_of_the_rule(tmp_path):
    step = STEP.replace("FOLDER", str(tmp_path))
    own = tmp_path / "own_rule.py"
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    own.write_text(RULE.replace("FACTOR", "2.0"))
    assert python(step, **environment) == "0 -2.0"
    assert python(step, **environment) == "1 -2.0"
    own.write_text(RULE.replace("FACTOR", "3.0"))
    assert python(step, **environment) == "0 -3.0"


def test_an_edit_of_the_loops_or_options_changes_every_kernel_name(tmp_path):
    from fastopt.kernels.binding import digest

    for name in ("loops.py", "binding.py"):
        (tmp_path / name).write_text("old")
    before = digest(tmp_path / "loops.py")
    (tmp_path / "binding.py").write_text("new")
    assert digest(tmp_path / "loops.py") != before


def test_a_rule_typed_into_an_interpreter_works_without_a_cache():
    code = """
        import numpy as np, fastopt
        source = "def typed(w, g, lr): return w - lr * g"
        space = {}
        exec(source, space)
        fastopt.register("typed", constants=lambda h, t: (h["lr"],), defaults={"lr": 0.5})(space["typed"])
        w = np.ones(2)
        fastopt.get_optimizer("typed").bind(w).step(np.ones(2))
        print(w[0], "typed" in fastopt.list_optimizers())
    """
    assert python(code) == "0.5 True"


def test_a_rule_with_the_wrong_arguments_is_refused():
    with pytest.raises(ValueError, match="must take the weight, the gradient, its slots"):
        fastopt.register("wrong", slots=("a", "b"), constants=lambda h, t: ())(lambda w, g, a: w)


def test_a_taken_name_is_refused():
    with pytest.raises(ValueError, match="'adam' is already registered"):
        fastopt.register("adam", constants=lambda h, t: (1.0,))(lambda w, g, lr: w)


def test_importing_compiles_nothing():
    code = """
        import fastopt
        from fastopt.kernels import elementwise, work_queue
        print(elementwise.update_kernel.cache_info().currsize, len(work_queue.run_serially.signatures))
    """
    assert python(code) == "0 0"


def test_the_arithmetic_of_a_sweep_is_not_reordered():
    # The sums that a sweep may reorder are float64, so of float32 only the scale of a gradient is left.
    code = """
        from fastopt.kernels import reductions
        from fastopt.rules.tensorwise import sweep

        def average(w, g, m, *, d, scale):  # without a file it is not cached, and has its code to show
            m = m + d * (g - m)
            return w - scale * m + d * w, m, m * m

        print(reductions.sweep_kernel(sweep("w m", sums=1)(average), "float32").inspect_llvm())
    """
    of_float = set(re.findall(r"= (f(?:add|sub|div|mul)) ([a-z ]*)(?:<\d+ x )?float\b", python(code)))
    assert {name for name, _ in of_float} >= {"fadd", "fsub", "fmul"}
    assert {name for name, flags in of_float if "reassoc" in flags} <= {"fmul"}
