"""The sections of ``gpu_check.py``: each takes a `Machine` and returns figures that JSON can hold."""

import os
import platform
import statistics
import time
import warnings
from importlib.metadata import PackageNotFoundError, version

import numpy as np

import fastopt
from fastopt.kernels import elementwise, work_queue
from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise as cuda_elementwise
from fastopt.rules.registry import RULES

ADAM_BYTES = 28  # of a float32 element: weight, gradient and two moments read, all but the gradient written


class Machine:
    """What the sections share: sizes, clocks, and torch where it is installed."""

    def __init__(self):
        self.cuda, self.simulated = cuda.module(), cuda.SIMULATED

    def size(self, real, simulated):
        """Return a size: the real one on a GPU, a tiny one in the simulator."""
        return simulated if self.simulated else real

    def seconds(self, call, repeats=30):
        """Return the median time on the device of what a call queues on the default stream."""
        call()
        if self.simulated:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        call()
        times = []
        for _ in range(repeats):
            first, last = self.cuda.event(), self.cuda.event()
            first.record()
            call()
            last.record()
            last.synchronize()
            times.append(first.elapsed_time(last) / 1e3)
        return statistics.median(times)

    def host_seconds(self, call, n=200):
        """Return the mean time for which a call keeps the host, its work on the device apart."""
        n = self.size(n, 2)
        call()
        self.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(n):
            call()
        seconds = (time.perf_counter() - start) / n
        self.cuda.synchronize()
        return seconds

    def torch(self):
        """Return torch if it is installed and sees the GPU, else None."""
        try:
            import torch
        except ImportError:
            return None
        return torch if torch.cuda.is_available() and not self.simulated else None

    def arrays(self, n, count, dtype=np.float32, seed=0):
        """Return arrays of ``n`` normal numbers in device memory."""
        rng = np.random.default_rng(seed)
        return [self.cuda.to_device(rng.standard_normal(n).astype(dtype)) for _ in range(count)]


def environment(machine):
    """Describe the GPU and the versions."""
    packages = (
        "numba",
        "numba-cuda",
        "cuda-bindings",
        "cuda-core",
        "numpy",
        "torch",
        "cupy-cuda12x",
        "cupy-cuda13x",
    )
    found = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["devices"] = cuda.names()
    context = machine.cuda.current_context()
    found["compute_capability"] = list(context.device.compute_capability)
    found["multiprocessors"] = cuda.n_processors()
    memory = context.get_memory_info()
    found["free_GB"], found["total_GB"] = (float(x) / 1e9 for x in (memory.free, memory.total))
    return found


def _random_case(rule, n, seed):
    """Return weights, gradients, positive slots and constants, in float64."""
    rng = np.random.default_rng(seed)
    w, g = rng.standard_normal((2, n))
    slots = np.abs(rng.standard_normal((len(rule.slots), n))) + 0.5
    return w, g, slots, np.array([1.0, 0.01, 0.99, *rng.uniform(0.1, 0.9, rule.n_constants)])


def _on_device(rule, dtype, w, g, slots, row):
    """Return the weights and slots after one launch on copies of the arrays."""
    (w_copy, at_w), (g_copy, at_g), (s_copy, at_s) = (
        cuda.to_device(a.astype(dtype)) for a in (w, g, _room(slots))
    )
    kernel = cuda_elementwise.kernel("one", rule, np.dtype(dtype))
    stride = w.size if len(slots) else 0
    blocks = cuda_elementwise.grid(w.size, dtype)
    kernel[blocks, cuda_elementwise.THREADS, cuda.stream(None)](
        at_w, at_g, at_s if stride else 0, stride, w.size, tuple(row.astype(dtype))
    )
    found = [w_copy.copy_to_host(), s_copy.copy_to_host()[: len(slots)]]
    del g_copy
    return found


def _room(slots):
    """Return the slots, or one row where there are none, so that there is something to copy."""
    return slots if len(slots) else np.zeros((1, slots.shape[1]))


def _on_cpu(rule, w, g, slots, row):
    """Return the same in float64, by the CPU kernel, which the tests hold to torch and the papers."""
    w, slots = w.copy(), slots.copy()
    address = elementwise.update_address(rule, np.float64)
    table = np.array([[address, w.ctypes.data, g.ctypes.data, slots.ctypes.data, w.size, row.ctypes.data]])
    work_queue.KernelQueue.over(table, [w.size], 1).run()
    return w, slots


def correctness(machine):
    """Compare every rule with float64, for both dtypes; run each twice for the same bits."""
    n, wrong = machine.size((1 << 22) + 3, 131), {}
    seed = machine.size(int(time.time()), 0)
    for number, (name, rule) in enumerate(RULES.items()):
        for dtype, tolerance in ((np.float32, 1e-4), (np.float64, 1e-12)):
            # The inputs are float32 numbers, so that both begin with the same.
            case = [a.astype(np.float32).astype(np.float64) for a in _random_case(rule, n, seed + number)]
            expected = _on_cpu(rule, *case)
            first, second = (_on_device(rule, dtype, *case) for _ in range(2))
            same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True))
            # A handful of elements may stand so near a branch or a cancellation that rounding decides.
            far = [
                np.mean(~np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)) if a.size else 0.0
                for a, b in zip(first, expected, strict=True)
            ]
            if not same or max(far) > 1e-4:
                wrong[f"{name} {np.dtype(dtype).name}"] = {"same_bits": same, "share_far": float(max(far))}
    return {"share_correct": 1.0 - len(wrong) / (2 * len(RULES)), "elements": n, "seed": seed, "wrong": wrong}


def roofline(machine):
    """Measure Adam's bytes per second by grid, and a device copy's."""
    n = machine.size(1 << 26, 1 << 10)
    arrays = machine.arrays(n, 4)
    for array in arrays[3:]:
        array.copy_to_device(np.full(n, 0.5, np.float32))
    w, g, m, v = arrays
    state = machine.cuda.device_array(2 * n, np.float32)
    state[:n].copy_to_device(m)
    state[n:].copy_to_device(v)
    copy = 8 * n / machine.seconds(lambda: m.copy_to_device(w))
    at = [cuda.interface(a)["data"][0] for a in (w, g, state)]
    adam = fastopt.Adam().flat(1, 1, np.float32)
    row = tuple(adam.constants(1)[0])
    kernel, figures = cuda_elementwise.kernel("one", adam.rule, np.dtype(np.float32)), {}
    for per_processor in (4, 8, 16, 32, 64):
        for threads in (128, 256):
            blocks = per_processor * cuda.n_processors()
            threads = machine.size(threads, 4)

            def call(blocks=blocks, threads=threads):
                kernel[blocks, threads, cuda.stream(None)](*at[:2], at[2], n, n, row)

            figures[f"{per_processor} x {threads}"] = ADAM_BYTES * n / machine.seconds(call)
        if machine.simulated:
            break
    chosen = figures.get(f"{cuda_elementwise.BLOCKS} x {cuda_elementwise.THREADS}", max(figures.values()))
    return {
        "copy_bytes_per_second": copy,
        "adam_bytes_per_second": chosen,
        "of_copy": chosen / copy,
        "of_copy_best_grid": max(figures.values()) / copy,
        "by_grid": figures,
    }


def _against_torch(machine, sizes):
    """Return device seconds of a step of ours and of torch's Adam on tensors of these sizes."""
    torch, figures = machine.torch(), {}
    if torch is None:
        params, grads = ([machine.arrays(n, 1, seed=k)[0] for n in sizes] for k in range(2))
        stepper = fastopt.Adam().bind(params)
        return {"ours": machine.seconds(lambda: stepper.step(grads)), "torch": "not installed for this GPU"}
    results = {}
    for label in ("ours", "fused", "foreach"):
        generator = torch.Generator("cuda").manual_seed(0)
        params, grads = (
            [torch.randn(n, device="cuda", generator=generator) for n in sizes] for _ in range(2)
        )
        if label == "ours":
            stepper = fastopt.Adam().bind(params)

            def call(stepper=stepper, grads=grads):
                stepper.step(grads)

        else:
            for w, g in zip(params, grads, strict=True):
                w.grad = g
            call = torch.optim.Adam(params, **{label: True}).step
        for _ in range(3):
            call()
        results[label] = torch.cat([w.flatten()[:1000] for w in params])
        figures[label] = machine.seconds(call)
        figures[f"{label}_host"] = machine.host_seconds(call)
    for label in ("fused", "foreach"):
        # Three steps of 1e-3 on weights of order 1 in float32; torch contracts and orders its own way.
        torch.testing.assert_close(results["ours"], results[label], rtol=2e-6, atol=2e-6)
        figures[f"{label}_over_ours"] = figures[label] / figures["ours"]
    return figures


def torch(machine):
    """Step one large tensor."""
    return _against_torch(machine, [machine.size(1 << 26, 1 << 10)])


def many(machine):
    """Step 200 tensors of 10,000 in one launch, and the same elements as one flat tensor."""
    count, n = machine.size(200, 5), machine.size(10_000, 100)
    figures = _against_torch(machine, [n] * count)
    figures["flat"] = _against_torch(machine, [n * count])["ours"]
    figures["list_over_flat"] = figures["ours"] / figures["flat"]
    return figures


def launches(machine):
    """Measure what a small step costs the host, and each step of a replayed graph the device."""
    figures = {}
    for label, sizes in (("one tensor", [1000]), ("four tensors", [1000] * 4)):
        params, grads = ([machine.arrays(n, 1)[0] for n in sizes] for _ in range(2))
        stepper = fastopt.Adam().bind(params)
        figures[f"{label}, host us"] = 1e6 * machine.host_seconds(lambda s=stepper, g=grads: s.step(g))
    return figures | {"graph": _planned_graph(machine)}


def _planned_graph(machine):
    """Replay ten planned steps as one CUDA graph; check them against the CPU; return microseconds a step."""
    n, n_decay, n_steps = machine.size(100_000, 64), machine.size(99_000, 60), 10
    optimizer = fastopt.AdamW(lr=0.01, weight_decay=0.1)
    state = optimizer.flat(n, n_decay, np.float32)
    rule = state.rule
    # Enough for the three replays of a measurement, each from step 0.
    rows, spared = (state.constants(3 * n_steps, decay).copy() for decay in (True, False))
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((2, n)).astype(np.float32)
    (on_device, at_w), *kept = (
        cuda.to_device(a) for a in (w, g, np.zeros((2, n), np.float32), rows, spared, np.zeros(1, np.int64))
    )
    at_g, at_s, at_rows, at_spared, at_step = (address for _, address in kept)
    kernel = cuda_elementwise.kernel("planned", rule, np.dtype(np.float32))
    blocks = cuda_elementwise.grid(n, np.float32)

    def count(cell):
        cell[0] += 1

    counting = cuda.kernel(count, 1)

    def queue(stream):
        for _ in range(n_steps):
            kernel[blocks, cuda_elementwise.THREADS, stream](
                at_w, at_g, at_s, n, n_decay, n, at_rows, at_spared, at_step
            )
            counting[1, 1, stream](kept[-1][0])

    queue(cuda.stream(None))  # compiles, and takes the first ten steps
    if machine.simulated:
        replay, figures = lambda: queue(0), {}
    else:
        from cuda.core import Device

        device = Device(machine.cuda.get_current_device().id)
        device.set_current()
        builder = device.create_graph_builder()
        builder.begin_building()
        queue(builder)
        graph = builder.end_building().complete()
        stream = device.default_stream
        replay, figures = lambda: graph.launch(stream), {}
    replay()
    machine.cuda.synchronize()
    expected, moments = w.copy(), np.zeros((2, n), np.float32)
    for step in range(2 * n_steps):
        for lo, hi, row in ((0, n_decay, rows[step]), (n_decay, n, spared[step])):
            address = elementwise.update_address(rule, np.float32)
            at = [a.ctypes.data + 4 * lo for a in (expected, g, moments)]
            work_queue.KernelQueue.over(np.array([[address, *at, n, row.ctypes.data]]), [hi - lo], 1).run()
    # Twenty steps of 0.01 in float32; NVVM contracts a multiply and an add where the CPU rounds twice.
    np.testing.assert_allclose(on_device.copy_to_host(), expected, rtol=1e-4, atol=1e-5)
    figures["checked"] = True
    seconds = []
    for _ in range(machine.size(20, 1)):
        kept[-1][0].copy_to_device(np.zeros(1, np.int64))
        seconds.append(machine.seconds(replay, 1))
    figures["us a step"] = 1e6 * statistics.median(seconds) / n_steps
    return figures


def _fit_seconds(machine, hidden, batch, X, y):
    """Return the seconds of one training step of ours: the difference of two fits, start-up apart."""
    times = []
    for n_epochs in machine.size((2, 12), (1, 2)):
        network = fastopt.MLPClassifier(
            (hidden,), solver=fastopt.Adam(), batch_size=batch, max_iter=n_epochs, tol=0,
            n_iter_no_change=10**6, random_state=0, device="cuda",
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.fit(X, y)  # compiles
            start = time.perf_counter()
            network.fit(X, y)
            times.append((n_epochs, time.perf_counter() - start))
    (few, short), (more, long) = times
    return (long - short) / ((more - few) * -(-len(X) // batch))


def _torch_step(torch, hidden, batch, X, y, as_graph):
    """Return the seconds of one training step of torch, eager or replayed."""
    model = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, int(y.max()) + 1)
    ).cuda()
    optimizer = torch.optim.Adam(model.parameters(), fused=True, capturable=as_graph)
    rows, targets = torch.as_tensor(X, device="cuda"), torch.as_tensor(y, device="cuda")
    order, at = torch.randperm(len(X), device="cuda"), torch.zeros((), dtype=torch.long, device="cuda")
    offsets = torch.arange(batch, device="cuda")
    loss_sum = torch.zeros((), device="cuda")

    def step():
        picked = order[(at + offsets) % len(order)]
        at.add_(batch)
        optimizer.zero_grad(set_to_none=not as_graph)
        loss = torch.nn.functional.cross_entropy(model(rows[picked]), targets[picked])
        loss.backward()
        optimizer.step()
        loss_sum.add_(loss.detach())

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.synchronize()
    if as_graph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        step = graph.replay
    start = time.perf_counter()
    for _ in range(500):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / 500


def training(machine):
    """Train one hidden layer by ours and by torch; microseconds a step, loader and transfer apart."""
    n, n_features = machine.size((20_000, 64), (40, 3))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, n_features)).astype(np.float32), rng.integers(0, machine.size(10, 3), n)
    figures, framework = {}, machine.torch()
    for hidden, batch in machine.size(
        ((100, 200), (32, 200), (128, 200), (512, 200), (100, 1024), (512, 1024)), ((4, 20),)
    ):
        row = figures[f"({hidden},) x {batch}"] = {
            "ours_us": 1e6 * _fit_seconds(machine, hidden, batch, X, y)
        }
        if framework:
            for label, as_graph in (("eager", False), ("graph", True)):
                row[f"{label}_us"] = 1e6 * _torch_step(framework, hidden, batch, X, y, as_graph)
                row[f"{label}_over_ours"] = row[f"{label}_us"] / row["ours_us"]
    main = next(iter(figures.values()))
    return figures | ({"graph_over_ours": main["graph_over_ours"]} if framework else {})


def products(machine):
    """Multiply by the engine's own product, by what the engine chooses, and by torch's cuBLAS in float32."""
    from fastopt.engine.cuda import cublas

    torch, figures = machine.torch(), {}
    if torch:
        torch.backends.cuda.matmul.allow_tf32 = False
    choose = cublas.find
    for n, k, m in machine.size(((200, 64, 100), (1024, 512, 512), (4096, 4096, 4096)), ((5, 3, 4),)):
        rng = np.random.default_rng(0)
        X, W, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((n, k), (k, m), m))
        row = figures[f"{n} x {k} x {m}"] = {}
        for label, find in (("own", lambda: None), ("engine", choose)):
            cublas.find = find
            row[f"{label}_us"] = 1e6 * _layer_seconds(machine, X, W, b)
        row["own_gflops"] = 2e-3 * n * k * m / row["own_us"]
        if torch:
            x, weights, bias = (torch.as_tensor(a, device="cuda") for a in (X, W, b))
            row["cublas_us"] = 1e6 * machine.seconds(lambda x=x, w=weights, b=bias: torch.addmm(b, x, w))
            row["cublas_over_own"] = row["cublas_us"] / row["own_us"]
    return figures


def _layer_seconds(machine, X, W, b):
    """Return the seconds of the engine's ``X @ W + b`` in device memory, after checking it."""
    from fastopt.engine.cuda.data import Data
    from fastopt.engine.cuda.network import Network
    from fastopt.engine.layout import Layout
    from fastopt.engine.objective import resolve_functions

    n, (k, m) = len(X), W.shape
    layout = Layout([k, m])
    params = np.zeros(layout.size, np.float32)
    params[int(layout.weights_at[0]) :][: k * m] = W.ravel()
    params[int(layout.biases_at[0]) :][:m] = b
    functions = resolve_functions("identity", "identity", "squared_error", layout)
    network = Network(layout, functions, np.float32, n)
    network.attach(Data(X, None, None, n, n, 1 << 40))
    network.params.copy_to_device(params)

    def run():
        network.prepare(np.array([[0, n]]))
        network.run(1)

    run()
    found = network.outputs.copy_to_host().reshape(n, m)
    # Sums of k products of order 1 in float32.
    np.testing.assert_allclose(found, X.astype(np.float64) @ W + b, rtol=1e-4, atol=1e-5 * k)
    n_runs = machine.size(20, 1)
    start = time.perf_counter()
    for _ in range(n_runs):
        run()
    return (time.perf_counter() - start) / n_runs
