"""How many threads work on a batch: by what batches have cost."""

import threading

import pytest

from fastopt.engine.cpu.thread_count import ThreadChooser, thread_chooser


class Machine:
    """A clock, and batches whose cost depends on the number of workers."""

    def __init__(self, **seconds):
        self.now, self.seconds = 0.0, {int(key[1:]): value for key, value in seconds.items()}

    def run(self, chooser, n_batches):
        """Run batches as the chooser says; return how many each number of workers ran."""
        counts = dict.fromkeys(self.seconds, 0)
        while n_batches:
            workers, count = chooser.next(n_batches)
            assert 1 <= count <= n_batches
            spent = count * self.seconds[workers]
            self.now += spent
            chooser.record(spent)
            counts[workers] += count
            n_batches -= count
        return counts

    def chooser(self, most):
        return ThreadChooser(most, 1e7, clock=lambda: self.now)


@pytest.mark.parametrize(("one", "two"), [(3e-4, 2e-4), (2e-4, 3e-4)])
def test_the_quicker_number_of_workers_runs_nearly_all(one, two):
    machine = Machine(n1=one, n2=two)
    counts = machine.run(machine.chooser(2), 1000)
    assert counts[1 if one < two else 2] > 970


def test_every_power_of_two_is_tried():
    machine = Machine(n1=4e-4, n2=2e-4, n4=3e-4, n8=5e-4)
    counts = machine.run(machine.chooser(8), 5000)
    assert counts[2] > 4900
    assert min(counts.values()) >= 2


def test_one_worker_is_never_put_to_a_trial():
    chooser = Machine(n1=1e-3).chooser(1)
    assert chooser.next(1000) == (1, 1000)
    chooser.record(1.0)
    assert chooser.next(5) == (1, 5)


def test_what_has_become_quicker_is_found_out_within_seconds():
    machine = Machine(n1=3e-4, n2=2e-4)
    chooser = machine.chooser(2)
    machine.run(chooser, 1000)
    machine.seconds[2] = 9e-4  # another program has come
    for _ in range(10):
        last = machine.run(chooser, 1000)
    assert last[1] > 900
    machine.seconds[2] = 2e-4  # and has gone
    for _ in range(20):
        last = machine.run(chooser, 1000)
    assert last[2] > 900


def test_a_single_slow_slice_changes_nothing():
    machine = Machine(n1=3e-4, n2=2e-4)
    chooser = machine.chooser(2)
    machine.run(chooser, 1000)
    chooser.next(10)
    chooser.record(10 * 4e-4)
    assert chooser.next(10)[0] == 2


def test_a_batch_of_seconds_is_tried_one_at_a_time():
    machine = Machine(n1=3.0, n2=2.0)
    chooser = machine.chooser(2)
    machine.run(chooser, 2)
    assert chooser.next(100)[1] == 1


def test_a_thread_remembers_and_others_have_their_own():
    mine = thread_chooser("a kind of work", 2, 1e7)
    assert thread_chooser("a kind of work", 2, 1e7) is mine
    theirs = []
    thread = threading.Thread(target=lambda: theirs.append(thread_chooser("a kind of work", 2, 1e7)))
    thread.start()
    thread.join()
    assert theirs[0] is not mine


def test_what_is_remembered_does_not_grow_for_ever():
    first = thread_chooser(0, 1, 1.0)
    for kind in range(1, 100):
        thread_chooser(kind, 1, 1.0)
    assert thread_chooser(0, 1, 1.0) is not first
