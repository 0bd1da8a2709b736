"""Run the schedules of other libraries and write what they give to ``peer_values.json``, for the tests.

Not a part of the tests: they must not need these libraries. Run it by hand, in an environment with

    pip install optax==0.2.8 keras==3.15.1 "jax[cpu]==0.10.2" torch==2.13.0
    pip install --no-deps pytorch_optimizer==4.1.0 pytabkit==1.8.0

as ``python tests/schedules/peer_values.py``. torch itself is executed by the tests.
"""

import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
from pathlib import Path

os.environ |= {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytorch_optimizer
import torch
from keras.src.trainers.data_adapters.array_slicing import train_validation_split

keras.config.set_floatx("float64")
decay = keras.optimizers.schedules

#: Before, at and after every turning point of the schedules below, and past their ends.
STEPS = [*range(11), 13, 16, 17, 18, 20, 23, 28, 29, 30, 33, 35, 39, 40, 41, 46, 47, 50, 59, 69]

SCHEDULES = {
    "optax exponential": lambda: optax.exponential_decay(0.1, 9, 0.5, end_value=0.01),
    "optax exponential, staircase": lambda: optax.exponential_decay(
        0.1, 9, 0.5, staircase=True, end_value=0.01
    ),
    "optax exponential, growing": lambda: optax.exponential_decay(0.1, 9, 1.5, end_value=0.7),
    "optax constant": lambda: optax.constant_schedule(0.1),
    "optax linear": lambda: optax.linear_schedule(0.1, 0.02, 30),
    "optax polynomial": lambda: optax.polynomial_schedule(0.1, 0.01, 1.7, 30),
    "optax cosine": lambda: optax.cosine_decay_schedule(0.1, 40, 0.2),
    "optax warm-up and cosine": lambda: optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 40, 0.01),
    "optax one cycle": lambda: optax.cosine_onecycle_schedule(47, 0.5, 0.29),
    "optax one cycle, linear": lambda: optax.linear_onecycle_schedule(47, 0.5),
    "optax one cycle of 3 steps": lambda: optax.cosine_onecycle_schedule(3, 0.5),
    "optax one cycle of 1 step": lambda: optax.cosine_onecycle_schedule(1, 0.5),
    "optax piecewise": lambda: optax.piecewise_constant_schedule(1.0, {5: 0.5, 20: 0.2}),
    "optax piecewise, linear": lambda: optax.piecewise_interpolate_schedule("linear", 1.0, {5: 0.5, 20: 0.2}),
    "optax piecewise, cosine": lambda: optax.piecewise_interpolate_schedule("cosine", 1.0, {5: 0.5, 20: 0.2}),
    "optax joined": lambda: optax.join_schedules(
        [optax.linear_schedule(0.05, 0.1, 6), optax.constant_schedule(0.1), optax.linear_schedule(0.1, 0, 9)],
        [6, 20],
    ),
    "Keras exponential": lambda: decay.ExponentialDecay(0.1, 9, 0.5),
    "Keras exponential, staircase": lambda: decay.ExponentialDecay(0.1, 9, 0.5, staircase=True),
    "Keras inverse time": lambda: decay.InverseTimeDecay(0.1, 4, 0.5),
    "Keras inverse time, staircase": lambda: decay.InverseTimeDecay(0.1, 4, 0.5, staircase=True),
    "Keras polynomial": lambda: decay.PolynomialDecay(0.1, 30, 0.01, 1.7),
    "Keras polynomial, cycle": lambda: decay.PolynomialDecay(0.1, 17, 0.01, 2.0, cycle=True),
    "Keras cosine": lambda: decay.CosineDecay(0.1, 40, 0.2),
    "Keras cosine with warm-up": lambda: decay.CosineDecay(0.02, 30, 0.1, warmup_target=0.1, warmup_steps=10),
    "Keras cosine with warm-up and no target": lambda: decay.CosineDecay(0.1, 40, 0.2, warmup_steps=10),
    "Keras restarts": lambda: decay.CosineDecayRestarts(0.1, 4, 1.5, 0.8, 0.1),
    "Keras piecewise": lambda: decay.PiecewiseConstantDecay([5, 20], [1.0, 0.5, 0.1]),
    "Keras piecewise, a level of no length": lambda: decay.PiecewiseConstantDecay([5, 5], [1.0, 0.5, 0.1]),
    **{
        f"pytorch_optimizer wsd, {form}": lambda form=form: _by_stepping(
            lambda o: pytorch_optimizer.get_wsd_schedule(o, 5, 30, 15, cooldown_type=form)
        )
        for form in ("1-sqrt", "linear", "1-square", "cosine")
    },
    "pytorch_optimizer rex": lambda: _rex,
    **{f"pytabkit {name}": lambda name=name: _of_pytabkit(name) for name in ("flat_cos", "coslog4")},
}


def _by_stepping(make):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler, values = make(optimizer), []
    for _ in range(max(STEPS) + 1):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values.__getitem__


def _rex(k):
    """Return the formula's value: stepping begins at ``min_lr`` in this version, a step apart from it."""
    scheduler = pytorch_optimizer.REXScheduler(torch.optim.SGD([torch.zeros(1)], lr=0.1), 40, 0.1)
    scheduler.step_t = k
    return scheduler.get_linear_lr()


def _of_pytabkit(name):
    """Return one of its schedules, over 40 steps; its module alone, because the package needs more."""
    path = importlib.metadata.distribution("pytabkit").locate_file("pytabkit/models/training/scheduling.py")
    spec = importlib.util.spec_from_file_location("scheduling", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    schedule = module.get_schedule(name)
    return lambda k: 0.1 * schedule.call_time_(min(k / 40, 1.0))


#: The least rate of the plateaus below.
LEAST = 1 / 64


def metrics(seed):
    """Return losses that fall and then vary; all of them in halves, so that ties are ties."""
    rng = np.random.default_rng(seed)
    falling = 20.0 - np.minimum(np.arange(40), 15) / 2
    return (np.round(2 * (falling + rng.normal(size=40))) / 2).tolist()


def plateau_of_keras(values, mode, **options):
    optimizer = keras.optimizers.SGD(1.0)
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", mode=mode, **options)
    callback.set_model(type("Model", (), {"optimizer": optimizer, "stop_training": False})())
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"loss": value})
        rates.append(float(optimizer.learning_rate.numpy()))
    return rates


def plateau_of_optax(values, **options):
    transformation = optax.contrib.reduce_on_plateau(**options)
    state = transformation.init(jnp.ones(1))
    update = jax.jit(lambda value, state: transformation.update(jnp.ones(1), state, value=value))
    rates = []
    for value in values:
        scale, state = update(value, state)
        rates.append(float(scale[0]))
    return rates


def plateaus():
    """Return how often each library had halved the rate after each value of ``metrics``, with its options."""
    cases = []
    for seed, shift in itertools.product(range(2), (0.0, -50.0)):
        values = [value + shift for value in metrics(seed)]
        for patience, cooldown in itertools.product((1, 3), (0, 1, 4)):
            options = {"factor": 0.5, "patience": patience, "cooldown": cooldown}
            for mode in ("min", "max"):
                rates = plateau_of_keras(values, mode, **options, min_delta=0.75, min_lr=LEAST)
                cases.append(["keras", seed, shift, options | {"mode": mode}, rates])
            tolerance = {"rtol": 0.0, "atol": 0.75} if shift else {"rtol": 0.05}
            rates = plateau_of_optax(values, **options, **tolerance, min_scale=LEAST)
            cases.append(["optax", seed, shift, options | tolerance, rates])
    return [[*case[:-1], [round(-math.log2(rate)) for rate in case[-1]]] for case in cases]


def early_stopping():
    """Return after how many epochs Keras stops whose loss does not change, by patience."""
    epochs = {}
    for patience in (1, 2, 3, 10):
        callback = keras.callbacks.EarlyStopping(monitor="loss", patience=patience, mode="min")
        callback.set_model(type("Model", (), {"stop_training": False})())
        callback.on_train_begin()
        done = 0
        while not callback.model.stop_training:
            callback.on_epoch_end(done, {"loss": 1.0})
            done += 1
        epochs[patience] = done
    return epochs


def accumulation():
    """Return the weight, at first 0, after each of ten gradients, of which three make a step."""
    gradients = [1.0, 3.0, -2.0, 5.0, 0.5, 0.25, 4.0, -1.0, 2.0, 7.0]
    schedule = optax.linear_schedule(1.0, 0.0, 4)
    stepper = optax.MultiSteps(optax.sgd(schedule, momentum=0.5), every_k_schedule=3)
    weight = jnp.zeros(1)
    state, path = stepper.init(weight), {"optax": [], "keras": []}
    for gradient in gradients:
        updates, state = stepper.update(jnp.array([gradient]), state, weight)
        weight = optax.apply_updates(weight, updates)
        path["optax"].append(float(weight[0]))
    variable = keras.Variable(np.zeros(1))
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=3)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([jnp.array([gradient])], [variable])
        path["keras"].append(float(variable.numpy()[0]))
    return {"gradients": gradients, **path}


def main():
    names = ("optax", "keras", "jax", "pytorch_optimizer", "pytabkit")
    rows = np.arange(20).reshape(10, 2)
    found = {
        "versions": {name: importlib.metadata.version(name) for name in names},
        "steps": STEPS,
        "schedules": {
            name: [float(schedule(k)) for k in STEPS]
            for name, schedule in ((n, m()) for n, m in SCHEDULES.items())
        },
        "early_stopping": early_stopping(),
        "validation_split": train_validation_split((rows,), 0.2)[1][0].tolist(),
        "accumulation": accumulation(),
        "metrics": [metrics(seed) for seed in range(2)],
        "plateau": plateaus(),
    }
    text = json.dumps(found).replace('], "', '],\n"').replace(']], ["', ']],\n["')
    Path(__file__).with_suffix(".json").write_text(text + "\n")


if __name__ == "__main__":
    main()
