"""Networks trained side by side in the compiled loop; the oracle is the same work through `Trainer`.

Losses, parameters and outputs are compared bit for bit: the same kernels run on the same numbers.
"""

import copy
import threading

import numpy as np
import pytest
import scipy.sparse
from test_engine_interrupt import SECONDS, Interruption

from fastopt import LAMB, LBFGS, SAM, SGD, Adam, Clip, ScheduleFreeAdamW
from fastopt.engine import Layout, Member, MemberTrainer, Trainer
from fastopt.engine.cpu import member_run, several_epochs
from fastopt.engine.cpu import members as members_module
from fastopt.engine.cpu.several_epochs import Patience
from fastopt.engine.monotonic_clock import now
from fastopt.rules.patience import observe
from fastopt.schedules import cosine
from fastopt.stepping.dropout import DropoutState
from fastopt.stepping.rate_factors import RateFactors

N, N_TRAINED, BATCH, ALPHA = 150, 110, 32, 0.01
NETWORK = {"activation": "relu", "out_activation": "softmax", "loss": "log_loss", "dtype": np.float32}


def make_members(n=3, optimizer=None, kind="dense", layout=None, n_rows=N, n_trained=N_TRAINED, **options):
    """Return a layout and members that differ in parameters, rows and draws, and share their data."""
    layout, rs = layout or Layout([70, 24, 16, 4]), np.random.RandomState(0)
    optimizer = Adam(lr=0.01) if optimizer is None else optimizer
    X = rs.standard_normal((n_rows, layout.layer_sizes[0])).astype("f")
    if kind != "dense":
        X[rs.uniform(size=X.shape) < 0.9] = 0
    X = scipy.sparse.csr_matrix(X) if kind == "csr" else X
    Y = np.eye(layout.layer_sizes[-1], dtype="f")[rs.randint(layout.layer_sizes[-1], size=n_rows)]
    members = []
    for seed in range(n):
        params = np.zeros(layout.size, "f")
        for weights in layout.weights(params):
            weights[...] = rs.standard_normal(weights.shape) / np.sqrt(len(weights))
        rows = rs.permutation(n_rows)
        update = optimizer.flat(layout.size, layout.n_decay, np.float32)
        own = {"held_out": np.sort(rows[n_trained:])} | options
        members.append(
            Member(params, update, X, Y, rows[:n_trained].copy(), np.random.RandomState(seed), **own)
        )
    return layout, members


def one_by_one(layout, members, n_epochs, network=NETWORK):
    """Do with `Trainer` what `MemberTrainer.train` does with the members, which it is given copies of."""
    trainer, validation = (Trainer(layout, n_threads=1, **network) for _ in range(2))
    for m in members:
        m.outputs = []
        for _ in range(n_epochs):
            if m.random_state is not None:
                m.random_state.shuffle(m.rows)
            total = trainer.train(
                m.params, m.X, m.Y, m.update, batch_size=BATCH, alpha=ALPHA, order=m.rows,
                sample_weight=m.sample_weight, dropout=m.dropout,
            )  # fmt: skip
            m.losses.append(total / len(m.rows))
            if m.held_out is not None:
                validate(validation, m)
    return members


def validate(trainer, m):
    X, Y, weight = m.validation_data()
    weight = None if weight is None else weight[m.held_out]
    outputs, loss = trainer.evaluate(m.params, X[m.held_out], Y[m.held_out], sample_weight=weight)
    m.validation_losses.append(loss)
    m.outputs.append(outputs)
    if loss <= m.best_loss:
        m.best_loss, m.best_epoch = loss, len(m.validation_losses) - 1
        m.best_params, m.best_outputs = m.params.copy(), outputs


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.losses == other.losses
        assert one.validation_losses == other.validation_losses
        assert (one.best_loss, one.best_epoch) == (other.best_loss, other.best_epoch)
        for name in ("params", "rows", "best_params", "best_outputs"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        if one.outputs is not None:
            np.testing.assert_array_equal(one.outputs, np.array(other.outputs))
        assert one.update.t == other.update.t
        if hasattr(one.update, "state"):
            np.testing.assert_array_equal(one.update.state, other.update.state)
        if one.random_state is not None:
            assert one.random_state.randint(1 << 30) == other.random_state.randint(1 << 30)


@pytest.mark.parametrize("n_threads", [1, 2, None])
@pytest.mark.parametrize("kind", ["dense", "mostly_zero", "csr"])
def test_the_numbers_are_those_of_one_network_after_the_other(kind, n_threads):
    """With weights, dropout and a schedule; in two calls, the second of which keeps outputs."""
    rs = np.random.RandomState(5)
    weight = rs.uniform(0, 2, N).astype("f")
    optimizer = Adam(lr=cosine(0.01, 40), weight_decay=0.1)
    layout, members = make_members(5, optimizer, kind, sample_weight=weight)
    for seed, member in enumerate(members):
        member.dropout = DropoutState((0.1, 0.2, 0.0), seed=seed)
    expected = one_by_one(layout, copy.deepcopy(members), 7)
    trainer = MemberTrainer(layout, n_threads=n_threads, **NETWORK)
    trainer.train(members, n_epochs=3, batch_size=BATCH, alpha=ALPHA)
    trainer.train(members, n_epochs=0, batch_size=BATCH, alpha=ALPHA)
    trainer.train(members, n_epochs=4, batch_size=BATCH, alpha=ALPHA, keep_outputs=True)
    for one in expected:
        one.outputs = one.outputs[3:]
    assert_same(members, expected)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.9), LAMB(), Clip(Adam(), norm=0.1), SAM(SGD())])
def test_optimizers_that_run_as_programs(optimizer):
    layout, members = make_members(3, optimizer)
    expected = one_by_one(layout, copy.deepcopy(members), 4)
    MemberTrainer(layout, **NETWORK).train(members, n_epochs=4, batch_size=BATCH, alpha=ALPHA)
    assert_same(members, expected)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_epochs_of_several_turns_and_calls_of_several_runs(monkeypatch, n_threads):
    """As with more batches: a turn is one of an epoch's four, and constants last for two epochs."""
    monkeypatch.setattr(members_module, "_TURN_FLOPS", 1.0)
    monkeypatch.setattr(member_run, "MAX_STEPS", 8)
    layout, members = make_members(4, kind="csr")
    members[1].random_state, members[2].held_out = None, None
    members[3].rows = members[3].rows[:37]  # two batches, the second of 5 rows
    expected = one_by_one(layout, copy.deepcopy(members), 5)
    trainer = MemberTrainer(layout, **NETWORK)
    trainer.n_threads = n_threads  # more than there may be cores
    trainer.train(members, n_epochs=5, batch_size=BATCH, alpha=ALPHA)
    assert members[2].best_params is None
    assert_same(members, expected)


def test_patience_and_the_times_of_epochs():
    """The oracle is `several_epochs.train_epochs`, where one network runs out of patience or of epochs."""
    layout, members = make_members(4, SGD(lr=0.05), held_out=None)
    for member, n_bad_allowed in zip(members, (0, 1, 2, np.inf), strict=True):
        member.patience = Patience(np.inf, 0.1, n_bad_allowed, 0)
    copies, began = copy.deepcopy(members), now()
    trainer = MemberTrainer(layout, **NETWORK)
    trainer.train(members, n_epochs=12, batch_size=BATCH, alpha=ALPHA)
    trainer.train(members, n_epochs=12, batch_size=BATCH, alpha=ALPHA)
    for member, one in zip(members, copies, strict=True):
        losses, ends, patience = [], [], one.patience
        while len(losses) < 24 and patience.n_bad <= patience.n_bad_allowed:
            n_before = len(losses)
            several_epochs.train_epochs(
                Trainer(layout, n_threads=1, **NETWORK), one.params, one.X, one.Y, one.update,
                batch_size=BATCH, alpha=ALPHA, order=one.rows, sample_weight=None,
                random_state=one.random_state, n_epochs=24 - len(losses), patience=patience,
                losses=losses, ends=ends,
            )  # fmt: skip
            for loss in losses[n_before:]:
                best, n_bad = observe(-loss, -patience.best, patience.n_bad, patience.tol)
                patience = patience._replace(best=-best, n_bad=n_bad)
        assert member.losses == losses
        assert member.patience == patience
        assert member.has_ended == (len(losses) < 24)
        assert len(member.ends) == len(losses)
        assert began < member.ends[0]
        assert member.ends == sorted(member.ends)
        assert len(member.seconds) == len(losses)
        assert min(member.seconds) > 0
        np.testing.assert_array_equal(member.params, one.params)
    assert [member.has_ended for member in members] == [True, True, True, False]
    # Each of two workers is at one network at a time.
    assert sum(sum(member.seconds) for member in members) < 2 * (now() - began)


def test_shuffles_that_begin_anew_are_those_of_one_call_an_epoch():
    layout, members = make_members(2, shuffles_anew=True)
    copies = copy.deepcopy(members)
    MemberTrainer(layout, **NETWORK).train(members, n_epochs=5, batch_size=BATCH, alpha=ALPHA)
    rows = [one.rows.copy() for one in copies]
    for _ in range(5):
        for one, own in zip(copies, rows, strict=True):
            one.rows[:] = own
        one_by_one(layout, copies, 1)
    assert_same(members, copies)


def test_learning_rates_by_layer_and_a_scale_of_the_inputs():
    layout = Layout([70, 24, 16, 4], scales_inputs=True)
    factors = RateFactors.of_layers(layout.layer_sizes, weights=[0.5, 2.0, 1.0], biases=0.1, input_scale=6.0)
    _, members = make_members(4, layout=layout)
    for member in members:
        layout.scale(member.params)[:] = 1.0
        member.update = Adam(lr=0.01).flat(layout.size, layout.n_decay, np.float32, rate_factors=factors)
    expected = one_by_one(layout, copy.deepcopy(members), 4)
    MemberTrainer(layout, **NETWORK).train(members, n_epochs=4, batch_size=BATCH, alpha=ALPHA)
    assert_same(members, expected)


def test_one_row_held_out_or_other_data_with_other_targets():
    layout, members = make_members(3)
    rs = np.random.RandomState(3)
    members[0].held_out = np.array([7])
    members[1].Y_val = rs.dirichlet(np.ones(4), N).astype("f")
    members[2].X_val, members[2].held_out = rs.standard_normal((2000, 70)).astype("f"), np.arange(1, 2000)
    members[2].Y_val = rs.dirichlet(np.ones(4), 2000).astype("f")
    expected = one_by_one(layout, copy.deepcopy(members), 4)
    MemberTrainer(layout, **NETWORK).train(members, n_epochs=4, batch_size=BATCH, alpha=ALPHA)
    assert_same(members, expected)


def test_a_member_that_diverges_keeps_its_best_epoch_and_the_others_go_on():
    layout, members = make_members(3)
    trainer = MemberTrainer(layout, **NETWORK)
    trainer.train(members, n_epochs=2, batch_size=BATCH)
    best, outputs = members[1].best_params.copy(), members[1].best_outputs.copy()
    members[1].params[0] = np.nan
    trainer.train(members, n_epochs=3, batch_size=BATCH)
    assert [len(member.losses) for member in members] == [5, 3, 5]
    assert [member.has_diverged for member in members] == [False, True, False]
    assert len(members[1].validation_losses) == 3
    assert np.isnan([members[1].losses[-1], members[1].validation_losses[-1]]).all()
    assert members[1].best_loss == min(members[1].validation_losses[:2])
    np.testing.assert_array_equal(members[1].best_params, best)
    np.testing.assert_array_equal(members[1].best_outputs, outputs)


def test_of_equal_epochs_the_last_is_the_best():
    layout, members = make_members(2, SGD(lr=0.0))
    MemberTrainer(layout, **NETWORK).train(members, n_epochs=4, batch_size=BATCH)
    assert [member.best_epoch for member in members] == [3, 3]


def test_two_trainers_at_once_in_two_threads():
    layout, members = make_members(8)
    expected = one_by_one(layout, copy.deepcopy(members), 6)
    halves = members[:4], members[4:]
    threads = [
        threading.Thread(
            target=MemberTrainer(layout, **NETWORK).train,
            args=(half,),
            kwargs={"n_epochs": 6, "batch_size": BATCH, "alpha": ALPHA},
        )
        for half in halves
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(members, expected)


def long_members(n=3):
    """Return members that take long to train, warmed up: their layout, trainer and copies of them."""
    layout, members = make_members(
        n, Adam(lr=1e-4), layout=Layout([70, 256, 128, 4]), n_rows=2000, n_trained=1500
    )
    trainer = MemberTrainer(layout, **NETWORK)
    trainer.train(copy.deepcopy(members), n_epochs=1, batch_size=BATCH)
    return layout, trainer, members


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("how", ["ctrl_c", "until", "tick"])
def test_a_long_run_ends_soon_and_every_member_stands_between_two_batches(how):
    layout, trainer, members = long_members()
    before, ticks = copy.deepcopy(members), []

    def tick(n_done):
        ticks.append(n_done)
        if how == "tick" and len(ticks) == 2:
            raise RuntimeError("enough")

    def train(**options):
        trainer.train(members, n_epochs=10**6, batch_size=BATCH, tick=tick, **options)

    began = now()
    if how == "ctrl_c":
        with Interruption() as ctrl_c:
            train()
        assert ctrl_c.waited < SECONDS
    elif how == "tick":
        with pytest.raises(RuntimeError, match="enough"):
            train()
    else:
        train(until=began + 0.5)
    assert now() - began < SECONDS
    assert ticks == sorted(ticks)
    n_batches = -(-1500 // BATCH)
    for member, copied in zip(members, before, strict=True):
        n_epochs, n_more = divmod(member.update.t, n_batches)
        assert len(member.losses) == len(member.validation_losses) in (n_epochs, n_epochs - 1)
        replay(layout, copied, n_epochs, n_more)
        np.testing.assert_array_equal(member.params, copied.params)
        np.testing.assert_array_equal(member.update.state, copied.update.state)


def replay(layout, member, n_epochs, n_more):
    """Train with `Trainer` for some epochs and some more batches."""
    trainer = Trainer(layout, **NETWORK)
    for epoch in range(n_epochs + 1):
        member.random_state.shuffle(member.rows)
        order = member.rows if epoch < n_epochs else member.rows[: n_more * BATCH]
        if len(order):
            trainer.train(
                member.params, member.X, member.Y, member.update, batch_size=BATCH, alpha=0.0, order=order
            )


def test_progress_of_many_short_runs_is_told(monkeypatch):
    monkeypatch.setattr(member_run, "_REPORT", 0.0)
    layout, members = make_members(2)
    told = []
    trainer = MemberTrainer(layout, **NETWORK)
    trainer.train(members, n_epochs=3, batch_size=BATCH, tick=told.append)
    assert told[-1] == 6


def test_what_members_cannot_be_is_refused_in_words():
    def refused(match, n=2, n_epochs=1, batch_size=BATCH, **changes):
        layout, members = make_members(n)
        for name, value in changes.items():
            setattr(members[-1], name, value(members) if callable(value) else value)
        with pytest.raises(ValueError, match=match):
            MemberTrainer(layout, **NETWORK).train(members, n_epochs=n_epochs, batch_size=batch_size)

    flat = make_members()[0].size, make_members()[0].n_decay, np.float32
    for name in ("params", "rows", "update", "random_state"):
        refused(f"share their {name}", **{name: lambda members, name=name: getattr(members[0], name)})
    for name in ("params", "rows"):
        array = np.zeros(3 * 2048, make_members()[1][0].rows.dtype if name == "rows" else np.float32)
        n = len(getattr(make_members()[1][0], name))
        layout, members = make_members(2)
        setattr(members[0], name, array[:n])
        setattr(members[1], name, array[n - 1 : 2 * n - 1])
        with pytest.raises(ValueError, match=f"share their {name}"):
            MemberTrainer(layout, **NETWORK).train(members, n_epochs=1, batch_size=BATCH)
        members[1] = make_members()[1][0]
        getattr(members[1], name).setflags(write=False)
        with pytest.raises(ValueError, match=f"{name} of a member may not be written"):
            MemberTrainer(layout, **NETWORK).train(members, n_epochs=1, batch_size=BATCH)
    refused("held_out has no rows", held_out=np.zeros(0, np.int64))
    refused("no rows to train on", rows=np.zeros(0, np.int64))
    refused("from 0 to 150, but X has 150", held_out=np.array([0, 150]))
    refused("from -1 to 3, but X has 150", rows=np.array([-1, 3]))
    refused("sum to 0", weight_val=np.zeros(N, np.float32))
    refused("needs Y_val", X_val=lambda members: members[0].X)
    refused("validated at an average", update=ScheduleFreeAdamW().flat(*flat))
    refused("calls Python between batches", update=LBFGS().flat(*flat))
    refused("params must be", params=np.zeros(3, np.float32))
    refused("n_epochs=-1", n_epochs=-1)
    refused("batch_size=0", batch_size=0)
    layout, members = make_members()
    members[0].held_out = None
    with pytest.raises(ValueError, match="needs rows held_out"):
        MemberTrainer(layout, **NETWORK).train(members, n_epochs=1, batch_size=BATCH, keep_outputs=True)
