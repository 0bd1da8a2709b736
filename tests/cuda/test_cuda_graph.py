"""Which steps a CUDA graph takes: the replay's bookkeeping, with a driver that only writes down."""

import warnings

import pytest

from fastopt.kernels.cuda import graph


class Recorder:
    """Stands for a launch, a graph builder, a graph and a device of ``cuda.core``; keeps what would run."""

    def __init__(self):
        self.ran, self.captured, self.building = [], None, False
        self.default_stream = "default"

    def on(self, stream):
        if stream is self:
            assert self.building, "a launch is recorded only while the graph is being built"
            self.captured.append("step")
        else:
            assert not self.building, "work on another stream during a capture"
            self.ran.append("step")

    def create_graph_builder(self):
        return self

    def begin_building(self):
        self.captured, self.building = [], True

    def end_building(self):
        self.building = False
        return self

    def complete(self):
        captured, ran = self.captured, self.ran

        class Graph:
            def launch(self, stream):
                assert stream == "default"
                ran.append(tuple(captured))

        return Graph()


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(graph, "_device", lambda: recorder)
    monkeypatch.setattr(graph.cuda, "SIMULATED", False)
    return recorder


def n_steps(ran):
    return sum(1 if step == "step" else len(step) for step in ran)


@pytest.mark.parametrize("n", [0, 1, 2, 16, 17, 18, 100])
def test_as_many_steps_are_taken_as_asked(n, recorder):
    replay = graph.Replay([recorder])
    for _ in range(3):
        recorder.ran.clear()
        replay.run(n)
        assert n_steps(recorder.ran) == n


def test_the_first_step_is_launched_and_the_others_are_replayed_in_sixteens(recorder):
    replay = graph.Replay([recorder])
    replay.run(35)
    assert [1 if step == "step" else len(step) for step in recorder.ran] == [1, 16, 16, 1, 1]
    assert recorder.ran[0] == "step"  # compiled and loaded before any capture
    recorder.ran.clear()
    replay.run(33)
    assert [len(step) for step in recorder.ran] == [16, 16, 1]


def test_a_single_step_builds_no_graph(recorder):
    replay = graph.Replay([recorder])
    replay.run(1)
    assert recorder.ran == ["step"]
    assert recorder.captured is None


def test_a_small_grid_is_no_reason_for_a_warning(recwarn):
    class Kernel:
        def __getitem__(self, configuration):
            # As numba-cuda 0.30 does for fewer than 128 blocks.
            warnings.warn("Grid size 8 will likely result in GPU under-utilization", stacklevel=2)
            self.configuration = configuration
            return lambda *arguments: setattr(self, "arguments", arguments)

    kernel = Kernel()
    graph.Launch(kernel, (8, 1), (16, 16), (1, 2)).on(0)
    assert (kernel.configuration, kernel.arguments) == (((8, 1), (16, 16), 0), (1, 2))
    assert not recwarn.list
