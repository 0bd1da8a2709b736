"""Kernel launches that are the same in every step, recorded and replayed as a CUDA graph."""

from typing import Any, NamedTuple

from fastopt.kernels.cuda import api as cuda

#: Steps of the larger of two graphs: its launch costs once what the steps' own would cost so many times.
_STEPS = 16


class Launch(NamedTuple):
    """A kernel with its grid, its block and its arguments, all the same in every step."""

    kernel: Any
    grid: tuple | int
    block: tuple | int
    arguments: tuple

    def on(self, stream):
        """Launch on a stream, or add to a graph that is being recorded."""
        cuda.configured(self.kernel, self.grid, self.block, stream)(*self.arguments)


class Replay:
    """A step as a list of launches, which can be repeated as a CUDA graph.

    On hardware the step is captured as a CUDA graph (through ``cuda.core``, which comes with numba-cuda), and
    sixteen steps as another; each replay costs the host one call. In the simulator the launches are made one
    by one.

    Parameters
    ----------
    launches : list of Launch
    """

    def __init__(self, launches):
        self._launches = launches
        self._graphs = None

    def run(self, n_steps):
        """Run ``n_steps`` steps on the default stream."""
        if self._graphs is None and n_steps > 1 and not cuda.SIMULATED:
            # Taken one by one, the first step compiles and loads the kernels: not possible during a capture.
            self._launch()
            n_steps -= 1
            self._graphs = {n: self._capture(n) for n in (_STEPS, 1)}
        if self._graphs is None:
            for _ in range(n_steps):
                self._launch()
            return
        stream = _device().default_stream
        for size, graph in self._graphs.items():
            for _ in range(n_steps // size):
                graph.launch(stream)
            n_steps %= size

    def _launch(self, stream=0):
        for launch in self._launches:
            launch.on(stream)

    def _capture(self, n_steps):
        builder = _device().create_graph_builder()
        builder.begin_building()
        for _ in range(n_steps):
            self._launch(builder)
        return builder.end_building().complete()


def _device():
    """Return the current GPU as a ``cuda.core`` device; both libraries use its primary context."""
    from cuda.core import Device

    device = Device(cuda.module().get_current_device().id)
    device.set_current()
    return device
