"""Dropout in the simulator: the CPU's masks, in every step."""

import numpy as np
import pytest
from test_cuda_trainer import DOUBLE, SINGLE, close, network, problem

import fastopt
from fastopt import SAM, SGD
from fastopt.engine import Trainer
from fastopt.engine.cuda import trainer as cuda_engine
from fastopt.stepping.dropout import DropoutState

RATES = (0.2, 0.5, 0.3)


def trained(cls, case, kind, optimizer, dropout, n_epochs=2, **options):
    layout, params, X, Y, weight = case
    params, dtype = params.copy(), params.dtype
    update = optimizer.flat(layout.size, layout.n_decay, dtype)
    trainer = cls(layout, dtype=dtype, **network(*kind), **options)
    order = np.random.RandomState(3).permutation(len(X))
    losses = [
        trainer.train(
            params, X, Y, update, batch_size=4, alpha=0.1, order=order, sample_weight=weight, dropout=dropout
        )
        for _ in range(n_epochs)
    ]
    return params, losses


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "prelu"])
@pytest.mark.parametrize("rates", [RATES, (0.0, 0.5, 0.0), (0.4, 0.0, 0.0)], ids=str)
def test_training_is_the_cpus(rates, activation, dtype):
    case = problem([5, 7, 4, 3], dtype, activation=activation)
    found, expected = (
        trained(cls, case, ("softmax", activation), SGD(lr=0.1, momentum=0.9), DropoutState(rates, 5))
        for cls in (cuda_engine.Trainer, Trainer)
    )
    # Six steps, in each of which float32 rounds a few sums.
    close(found[0], expected[0], DOUBLE if dtype == np.float64 else 10 * SINGLE)
    close(found[1], expected[1], DOUBLE if dtype == np.float64 else 10 * SINGLE)


def test_both_evaluations_of_sam_have_the_same_masks():
    case = problem([5, 7, 3], np.float64)
    found, expected = (
        trained(cls, case, ("softmax", "relu"), SAM(SGD(lr=0.1)), DropoutState(RATES[:2], 5))
        for cls in (cuda_engine.Trainer, Trainer)
    )
    close(found[0], expected[0], DOUBLE)


def test_data_that_stream_in_blocks_have_the_same_masks():
    case = problem([5, 7, 3], np.float64)
    states = [DropoutState(RATES[:2], 5) for _ in range(2)]
    found, expected = (
        trained(cuda_engine.Trainer, case, ("softmax", "relu"), SGD(lr=0.1), state, data_bytes=n_bytes)
        for state, n_bytes in zip(states, (600, None), strict=True)
    )
    np.testing.assert_array_equal(found[0], expected[0])
    assert states[0].t == states[1].t == 6


def test_the_estimator_trains_with_dropout_on_the_device():
    rs = np.random.RandomState(0)
    X, y = rs.standard_normal((12, 3)), rs.randint(2, size=12)
    settings = {
        "hidden_layer_sizes": (4,),
        "max_iter": 2,
        "batch_size": 5,
        "random_state": 0,
        "dropout": (0.1, 0.4),
    }
    one, other = (fastopt.MLPClassifier(device=device, **settings).fit(X, y) for device in ("cuda", "cpu"))
    close(one._params, other._params, DOUBLE)
    assert one._optimizer.dropout.t == other._optimizer.dropout.t == 6
