"""The rounds themselves, run one after the other in this process: no cluster."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_iris

from fastopt import SGD, Adam, MLPClassifier
from fastopt.dask import rounds
from fastopt.engine import make_trainer
from fastopt.neural_network.data import Data
from fastopt.schedules import cosine


def recipe_of(network, n_steps, *, local_steps, shares=(1.0,), batch_size=16, **changes):
    return rounds.Recipe(
        network=network,
        dtype=np.dtype(np.float64),
        seed=7,
        shares=shares,
        batch_size=batch_size,
        local_steps=local_steps,
        n_steps=n_steps,
        steps_per_epoch=10,
        **changes,
    )


@pytest.fixture
def rows():
    X, y = load_iris(return_X_y=True)
    return Data.of(X, np.eye(3)[y], None, np.float64)


def network(**arguments):
    """Return a network that is initialized and not trained."""
    X, y = load_iris(return_X_y=True)
    made = MLPClassifier((8,), random_state=0, max_iter=1, **arguments)
    made._random_state = np.random.RandomState(0)
    made._validate_input(X, y, False, True)
    made._initialize([4, 8, 3], np.float64)
    made.n_outputs_ = 3
    return made


def train(recipe, shards):
    executor, params, outcomes = rounds.SerialExecutor(), recipe.network._params.copy(), []
    for number in range(recipe.n_rounds):
        outcome = rounds.submit_round(executor, params, shards, recipe, recipe, number)
        params = outcome.params
        outcomes.append(outcome)
    return params, outcomes


@pytest.mark.parametrize("solver", [SGD(lr=cosine(0.1)), "sgd"])
def test_one_replica_takes_the_steps_of_plain_training(rows, solver):
    """The oracle is the engine's trainer, called once an epoch with the optimizer of all steps.

    Bits are equal, as gradient descent has no state that a round could lose, and averaging one copy, with
    the share 1, changes nothing.
    """
    net = network(solver=solver, learning_rate_init=0.1, momentum=0.0)
    recipe = recipe_of(net, 25, local_steps=7)
    params, outcomes = train(recipe, [rows])
    assert [one.n_rows for one in outcomes] == [
        112,
        102,
        102,
        64,
    ]  # every tenth batch has 6 rows instead of 16

    expected, solver = net._params.copy(), rounds.solver_of_round(recipe, 0)
    trainer, loss = make_trainer(**net._network(np.float64, "cpu")), 0.0
    for epoch, n_rows in ((0, 150), (1, 150), (2, 5 * 16)):
        order = np.arange(150)
        np.random.default_rng((7, 0, epoch)).shuffle(order)
        loss += trainer.train(
            expected, rows.X, rows.targets, solver.update, batch_size=16, alpha=1e-4, order=order[:n_rows]
        )
    np.testing.assert_array_equal(params, expected)
    assert sum(one.loss for one in outcomes) == pytest.approx(loss, rel=1e-12)  # added in another order


def test_a_schedule_goes_on_over_rounds_while_moments_begin_anew(rows):
    recipe = recipe_of(network(solver=Adam(lr=cosine(0.1))), 40, local_steps=10)
    rates = [rounds.solver_of_round(recipe, 10 * number).rates(0, 1, 1)[0] for number in range(4)]
    whole = rounds.solver_of_round(recipe, 0).rates(0, 4, 10)
    assert rates == whole
    assert rates == pytest.approx([0.1 * (1 + np.cos(np.pi * t)) / 2 for t in (0, 0.25, 0.5, 0.75)])


def test_replicas_are_averaged_by_their_shares(rows):
    """The oracle takes each replica's parameters alone; 1e-13, as two products and a sum are rounded."""
    halves = [Data.of(rows.X[:100], rows.targets[:100], None, np.float64), rows.take(np.arange(100, 150))]
    recipe = recipe_of(network(), 10, local_steps=10, shares=(2 / 3, 1 / 3))
    params, (outcome,) = train(recipe, halves)
    alone = [recipe_of(network(), 10, local_steps=10, shares=(1.0, 1.0))]
    each = [rounds.local_round(recipe.network._params, half, alone[0], r, 0) for r, half in enumerate(halves)]
    np.testing.assert_allclose(params, (2 * each[0].params + each[1].params) / 3, rtol=1e-13, atol=1e-15)
    assert not np.allclose(each[0].params, each[1].params)
    assert outcome.loss == each[0].loss + each[1].loss


def test_a_round_changes_nothing_that_it_is_given(rows):
    recipe = recipe_of(network(dropout=0.3), 10, local_steps=10)
    params = recipe.network._params.copy()
    params.flags.writeable = rows.X.flags.writeable = rows.targets.flags.writeable = False
    before = pickle.dumps(recipe)
    first = rounds.local_round(params, rows, recipe, 0, 0)
    again = rounds.local_round(params, rows, recipe, 0, 0)
    np.testing.assert_array_equal(first.params, again.params)
    assert pickle.dumps(recipe) == before
    assert not np.array_equal(
        rounds.local_round(params, rows, recipe_of(network(), 10, local_steps=10), 0, 0)[0], first[0]
    )


def test_a_recipe_that_was_sent_gives_the_same_bits(rows):
    recipe = recipe_of(network(activation="tanh", dropout=0.2), 20, local_steps=10, shares=(0.5, 0.5))
    params, _ = train(recipe, [rows, rows])
    sent, _ = train(pickle.loads(pickle.dumps(recipe)), [rows, rows])
    np.testing.assert_array_equal(params, sent)


def test_rows_at_odd_addresses_are_trained_on(rows):
    """Dask hands arrays on as parts of a message, at any address."""
    recipe = recipe_of(network(), 10, local_steps=10)
    buffer = bytearray(rows.X.nbytes + 5)
    moved = np.frombuffer(buffer, np.uint8)[5:].view(np.float64).reshape(rows.X.shape)
    moved[...] = rows.X
    assert not moved.flags.aligned
    expected = rounds.local_round(recipe.network._params, rows, recipe, 0, 0)
    found = rounds.local_round(recipe.network._params, rows._replace(X=moved), recipe, 0, 0)
    np.testing.assert_array_equal(found.params, expected.params)


@pytest.mark.parametrize(
    ("n_rows", "batch", "local_steps"), [(10, 3, 5), (9, 3, 7), (7, 16, 4), (100, 8, 25)]
)
def test_every_epoch_visits_every_row_once(n_rows, batch, local_steps):
    per_epoch = -(-n_rows // batch)
    n_rounds = 5
    visited = [
        order
        for number in range(n_rounds)
        for order in rounds.orders_of_round(n_rows, batch, number * local_steps, local_steps, (1, 2))
    ]
    steps = sum(-(-len(order) // batch) for order in visited)
    assert steps == n_rounds * local_steps
    flat = np.concatenate(visited)
    for epoch in range(steps // per_epoch):
        assert sorted(flat[epoch * n_rows : (epoch + 1) * n_rows]) == list(range(n_rows))


@pytest.mark.parametrize("n", [1, 2, 7, 16, 17, 40])
def test_the_tree_adds_everything_once(n):
    total = rounds.reduced(rounds.SerialExecutor(), lambda *items: sum(items), list(range(1, n + 1)), 4)
    assert total == n * (n + 1) // 2


def test_partitions_are_dealt_evenly_and_mix_a_sorted_file():
    hands = rounds.deal(80, 4, seed=0)
    assert sorted(i for hand in hands for i in hand) == list(range(80))
    assert {len(hand) for hand in hands} == {20}
    assert all(5 < sum(i < 40 for i in hand) < 15 for hand in hands)
    assert rounds.deal(80, 4, seed=1) != hands


@pytest.mark.parametrize(
    ("n_rows", "n_epochs", "n_replicas", "steps"),
    [(60_000, 5, 2, 29), (1000, 1, 4, 25), (10**9, 5, 100, 500)],
)
def test_steps_of_a_round_follow_from_counts(n_rows, n_epochs, n_replicas, steps):
    assert rounds.automatic_local_steps(n_rows, n_epochs, n_replicas, 256) == steps


def test_the_outer_step_is_nesterovs():
    """By hand: the way to the average is d; the buffer 0.5 b + d; the step d + 0.5 times the buffer."""
    step, params = rounds.OuterStep(lr=0.5, momentum=0.5), np.array([1.0])
    params = step(params, np.array([0.0]))  # d = 1, buffer 1, step 1.5
    assert params == 0.25
    params = step(params, np.array([0.0]))  # d = 0.25, buffer 0.75, step 0.625
    assert params == -0.0625
    plain = rounds.OuterStep()
    average = np.array([3.0])
    assert plain(params, average) is average
