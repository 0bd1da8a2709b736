"""Runs of the compiled loop over batches, cut into slices that are short enough for Ctrl-C."""

import concurrent.futures
import contextlib
import threading
import time

from fastopt.engine.cpu import compilation
from fastopt.kernels import threading_layer
from fastopt.kernels.blas_threads import single_threaded
from fastopt.kernels.interrupts import HeldInterrupt

#: Operations between two looks for Ctrl-C, a tenth of a second or so; seconds, where these are measured.
_SLICE_FLOPS, _SLICE_SECONDS = 2e9, 0.1
#: Operations of a batch that alone may take longer than Ctrl-C should wait.
_LONG_FLOPS = 2e10


class BatchRunner:
    """Runs a workspace's batches on the fastest number of threads, in slices short enough for Ctrl-C."""

    def __init__(self, workspace, chooser, flops):
        self.workspace, self._chooser = workspace, chooser
        self._slice = max(1, int(_SLICE_FLOPS / flops))
        self.flops = flops
        self._is_long = flops > _LONG_FLOPS
        self._blas = single_threaded if workspace.calls_blas else contextlib.nullcontext

    def plan(self, n_left):
        """Return how many workers are to run how many of the remaining batches."""
        n_workers, n_batches = self._chooser.next(min(n_left, self._slice))
        return 1 if threading_layer.is_stranded() else n_workers, n_batches

    def run(self, first, last, *sizes):
        """Run the batches ``first:last`` as `plan` decided."""
        start = time.perf_counter()
        self._run(first, last, *sizes)
        self._chooser.record(time.perf_counter() - start)

    def run_program(self, program, first, last, *sizes):
        """Run batches with an optimizer's program, and the Python functions that it calls.

        Ctrl-C in the run of a batch is raised at the end of the batch, so that no step is left part way.
        """
        start, n_batches, resumes, interrupt = time.perf_counter(), last - first, False, None
        while True:
            try:
                self._run(first, last, *sizes, resumes)
            except KeyboardInterrupt as error:
                interrupt = error
            if not program.is_waiting:
                break
            try:
                with HeldInterrupt():
                    program.call()
            except KeyboardInterrupt as error:
                interrupt = error
            first, resumes = self.workspace.batch_at, True
            last = last if interrupt is None else first + 1
        if interrupt is not None:
            raise interrupt
        elapsed = time.perf_counter() - start
        self._chooser.record(elapsed)
        if elapsed > 2 * _SLICE_SECONDS:  # its kernels may take many times as long as the network
            self._slice = max(1, int(n_batches * _SLICE_SECONDS / elapsed))

    def _run(self, first, last, batch_size, n_samples, n_workers, resumes=False):
        """Run batches, from the start of the first or from within it, with BLAS limited to one thread."""
        self.workspace.begin(first, last, batch_size, n_samples, n_workers, resumes)
        # Signals reach the main thread only.
        in_thread = self._is_long and threading.current_thread() is threading.main_thread()
        with self._blas():
            (self._run_in_thread if in_thread else compilation.run)(self.workspace.address, n_workers)

    def run_epochs(self, loop):
        """Run an `EpochLoop` in this thread, with BLAS limited to it."""
        start = time.perf_counter()
        with self._blas(), loop.lock:
            compilation.run_epochs(loop.address)
        self._chooser.record((time.perf_counter() - start) / loop.share_done())

    def _run_in_thread(self, *arguments):
        """Run a long batch in another thread, so that this one can react to Ctrl-C."""
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            future = executor.submit(compilation.run, *arguments)
            try:
                while not future.done():
                    concurrent.futures.wait([future], timeout=0.1)
            except KeyboardInterrupt:
                self.workspace.stop()
                raise
            future.result()

    def run_all(self, n_samples):
        """Run every batch and return the sums of losses and weights."""
        size = self.workspace.capacity
        n_batches, first = -(-n_samples // size), 0
        while first < n_batches:
            n_workers, count = self.plan(n_batches - first)
            self.run(first, first + count, size, n_samples, n_workers)
            first += count
        return self.workspace.take_result()
