"""A run of MLflow, as a fit writes to it: metrics in batches, and a status that says how it ended."""

import math
import signal
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from fastopt.neural_network.caller_warnings import warn

#: Metrics wait until training has taken this many times as long as writing the last ones did.
_TRAINING_TO_WRITING = 10.0
#: The most metrics that MLflow takes at once.
_MOST_AT_ONCE = 1000


class FitRun:
    """The run that one fit logs to: the active one, or one of its own, which it starts and ends.

    Parameters
    ----------
    mlflow : module
    name : str
        Name of a run of its own.
    is_own : bool
        Whether to start a run although one is active, nested in that.
    experiment_id : str, optional
        Experiment of a run of its own; the present one by default.
    tags : dict, optional
        Tags of a run of its own.
    """

    def __init__(
        self,
        mlflow: Any,
        name: str,
        *,
        is_own: bool,
        experiment_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        active = mlflow.active_run()
        self.is_own: bool = is_own or active is None
        if self.is_own:
            started = mlflow.start_run(
                experiment_id=experiment_id,
                run_name=name,
                nested=True,
                tags=None if tags is None else {**tags},
            )
            self.run_id: str = started.info.run_id
        else:
            self.run_id = active.info.run_id
        self.has_ended: bool = False
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient()
        self._waiting: list[Any] = []
        self._written_at, self._writing_took = -math.inf, 0.0
        self._has_warned = False
        self._catches_sigterm = _catch_sigterm()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; MLflow raises if the run has other values of them."""
        self._mlflow.log_params({**params}, run_id=self.run_id)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of an epoch, not later than writing them would take a tenth of the time."""
        self._waiting += self._metrics(values, step)
        if time.perf_counter() - self._written_at >= _TRAINING_TO_WRITING * self._writing_took:
            self.write()

    def log_history(self, history: Mapping[str, Any], prefix: str = "") -> None:
        """Log the numbers of all epochs of a fit that has ended."""
        rows = zip(*history.values(), strict=True)
        for step, row in enumerate(rows, 1):
            values = present(dict(zip(history, row, strict=True)))
            self._waiting += self._metrics({prefix + name: value for name, value in values.items()}, step)
        self.write()

    def _metrics(self, values, step):
        now = int(time.time() * 1000)
        return [self._mlflow.entities.Metric(name, value, now, step) for name, value in values.items()]

    def write(self) -> None:
        """Write the metrics that wait. If MLflow does not take them they wait on, with a warning."""
        began = time.perf_counter()
        try:
            while self._waiting:
                self._client.log_batch(self.run_id, metrics=self._waiting[:_MOST_AT_ONCE])
                del self._waiting[:_MOST_AT_ONCE]
        except Exception as error:  # a server that is away shall not end hours of training
            if not self._has_warned:
                warn(
                    f"MLflow has not taken {len(self._waiting)} metrics of the run {self.run_id} ({error}); "
                    "the fit goes on, and they are sent again with the next ones"
                )
            self._has_warned = True
        self._written_at = time.perf_counter()
        self._writing_took = self._written_at - began

    def end(self) -> None:
        """Write what waits, and end a run of its own: FINISHED, or what the exception on its way says."""
        _release_sigterm(self._catches_sigterm)
        self._catches_sigterm = False
        status = "FINISHED" if self.has_ended else _status(sys.exc_info()[1])
        self.write()
        if not self.is_own:
            return
        try:
            self._mlflow.end_run(status)
        except Exception as error:
            warn(f"MLflow has not been told that the run {self.run_id} is {status} ({error})")


def present(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an epoch without those that there are not; a loss of NaN is one."""
    return {name: float(value) for name, value in values.items() if name == "loss" or not math.isnan(value)}


def _status(error):
    was_killed = isinstance(error, KeyboardInterrupt | SystemExit)
    return "KILLED" if was_killed else "FAILED"


def _catch_sigterm():
    """Make SIGTERM unwind the program while a run is open, if it would end the program at once.

    A run of a process that dies stays RUNNING in MLflow for good. Clusters send SIGTERM before they kill.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _exit)
    return True


def _release_sigterm(has_caught):
    if has_caught and signal.getsignal(signal.SIGTERM) is _exit:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # what a shell says of a program that the signal has ended
