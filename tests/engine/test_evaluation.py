"""Outputs and mean loss from one forward pass, against scikit-learn's loss functions."""

import numpy as np
import pytest
import scipy.sparse
from engine.test_naive_engine import PAIRS
from sklearn.neural_network._base import LOSS_FUNCTIONS

import fastopt
from fastopt.engine import Layout, Trainer

#: float64: another order of the same sums; float32: 3,000 losses, each rounded to 6e-8.
TOLERANCES = {np.float64: 1e-13, np.float32: 2e-6}
KINDS = {"dense": np.asarray, "zeros are left out": np.asarray, "csr": scipy.sparse.csr_matrix}


def problem(output, dtype, kind, n=1100):
    """Return a trainer, its parameters, more rows than a batch of predictions takes, targets and weights."""
    rs = np.random.RandomState(0)
    loss, draw = PAIRS[output]
    layout = Layout([70, 6, 3])
    trainer = Trainer(layout, activation="tanh", out_activation=output, loss=loss, dtype=dtype)
    X = rs.standard_normal((n, 70)).astype(dtype)
    X[rs.uniform(size=X.shape) < (0.0 if kind == "dense" else 0.9)] = 0
    params = rs.uniform(-0.3, 0.3, layout.size).astype(dtype)
    Y, weight = draw(rs, (n, 3)).astype(dtype), rs.uniform(0, 2, n).astype(dtype)
    return trainer, params, KINDS[kind](X), Y, weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("output", PAIRS)
def test_the_loss_is_scikit_learns_and_the_outputs_are_the_predictions(output, dtype, kind, weighted):
    trainer, params, X, Y, weight = problem(output, dtype, kind)
    weight = weight if weighted else None
    outputs, loss = trainer.evaluate(params, X, Y, sample_weight=weight)
    np.testing.assert_array_equal(outputs, trainer.predict(params, X))
    expected = LOSS_FUNCTIONS[PAIRS[output][0]](*(a.astype(np.float64) for a in (Y, outputs)), weight)
    assert loss == pytest.approx(expected, rel=TOLERANCES[dtype])


def test_training_between_evaluations_changes_neither():
    trainer, params, X, Y, weight = problem("softmax", np.float64, "dense", n=300)
    before = trainer.evaluate(params, X, Y, sample_weight=weight, keep=True)
    update = fastopt.SGD(lr=0.1).flat(trainer.layout.size, trainer.layout.n_decay, np.float64)
    other = params.copy()
    trainer.train(other, X, Y, update, batch_size=300, alpha=0.0)
    after = trainer.evaluate(params, X, Y, sample_weight=weight, keep=True)
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1] != trainer.evaluate(other, X, Y, sample_weight=weight)[1]


def test_rows_without_weight_are_predicted_and_do_not_count():
    trainer, params, X, Y, _ = problem("softmax", np.float64, "dense", n=40)
    weight = np.repeat([0.0, 3.0], 20)
    outputs, loss = trainer.evaluate(params, X, Y, sample_weight=weight)
    assert loss == pytest.approx(trainer.evaluate(params, X[20:], Y[20:])[1], rel=1e-14)
    assert np.isfinite(outputs).all()


def test_the_bits_do_not_depend_on_the_number_of_threads():
    losses = set()
    for n_threads in (1, 2):
        trainer, params, X, Y, weight = problem("softmax", np.float32, "dense")
        trainer.n_threads = n_threads
        losses.add(trainer.evaluate(params, X, Y, sample_weight=weight)[1])
    assert len(losses) == 1
