"""What is compared with what: each optimizer and documented form beside the library that it claims to be.




ecay`` names our argument(s) for a weight decay of 0.1 in the scenarios that have one; a row without it runs
them without decay. ``skip`` names scenarios that the other library cannot run, with the reason in ``note``.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import optax
import torch
from optax import contrib
from peers import Keras, Optax, Sklearn, Torch, part_of
from scenarios import MATRICES, SHAPES, SQUARES


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    ours : str
        The name of our class.
    options : mapping
        Its arguments beside the learning rate.
    package, theirs : str
        The other library and what is called there.
    make : callable
        ``make(lr, decay)`` returns the peer.
    decay : mapping or None
        Our arguments where there is decay.
    lr : float
    shapes : tuple of tuple
    skip : tuple of str
    note : str
    bound, bound32 : float
        Largest difference that is rounding, in float64 and in float32.
    """

    ours: str
    options: Mapping
    package: str
    theirs: str
    make: Callable
    decay: Mapping | None = None
    lr: float = 0.01
    shapes: tuple = SHAPES
    skip: tuple = ()
    note: str = ""
    bound: float = 1e-12
    bound32: float = 2e-5


WD = 0.1
DECAY = {"weight_decay": WD}
DECOUPLED = {"weight_decay": WD, "decoupled_weight_decay": True}
COUPLED = {"weight_decay": WD, "decoupled_weight_decay": False}

_JOINT = "one state for all tensors, so that optax cannot leave one out"


def _decay_of(arguments, is_on):
    """Return another library's arguments for weight decay, or for none."""
    return dict(arguments or {}) if is_on else {k: 0.0 for k in arguments or () if k == "weight_decay"}


def of_torch(ours, *, theirs=None, decay=DECAY, renamed=(), **options):
    """Return the row of an optimizer that ``torch.optim`` has under the same name and arguments."""
    settings = {
        k: options.pop(k) for k in ("lr", "shapes", "skip", "note", "bound", "bound32") if k in options
    }
    cls = getattr(torch.optim, theirs or ours)
    given = {k: v for k, v in options.items() if k not in renamed}

    def make(lr, wd):
        return Torch(lambda params: cls(params, lr=lr, **given, **(_decay_of(decay, wd))))

    return Row(ours, options, "torch", f"torch.optim.{cls.__name__}", make, decay, **settings)


def of_package(package, module, theirs, ours, options, given, *, decay=None, wd=None, **settings):
    """Return the row of an optimizer of a torch package; ``wd`` are its arguments for decay."""
    keys = ("separate", "takes_loss")
    mode = {k: settings.pop(k) for k in keys if k in settings}

    def make(lr, has_decay):
        cls = getattr(part_of(module), theirs)
        more = _decay_of(wd, has_decay)
        given_lr = {} if settings.get("lr") == 1.0 and package == "parameterfree" else {"lr": lr}
        return Torch(lambda params: cls(params, **given_lr, **given, **more), **mode)

    return Row(ours, options, package, f"{module.split('.')[0]}.{theirs}", make, decay, **settings)


def of_optax(ours, called, options, given, *, decay=None, wd=None, factory=None, **settings):
    """Return the row of a transformation of optax; ``factory`` calls it where it takes more than a rate."""
    factory = factory or called
    keys = ("joint", "value", "rate")
    mode = {k: settings.pop(k) for k in keys if k in settings}
    if mode.get("joint"):
        settings["skip"] = (*settings.get("skip", ()), "gaps")
        settings.setdefault("note", _JOINT)

    def make(lr, has_decay):
        return Optax(factory, **given, **_decay_of(wd, has_decay), **mode)

    make = functools.lru_cache(make)  # what it has compiled serves several scenarios

    name = next(name for place in (optax, contrib) for name, value in vars(place).items() if value is called)
    place = "optax.contrib" if hasattr(contrib, name) and not hasattr(optax, name) else "optax"
    return Row(ours, options, "optax", f"{place}.{name}", make, decay, **settings)


def of_keras(ours, theirs, options, given, *, decay=None, **settings):
    """Return the row of an optimizer of Keras."""

    def make(lr, has_decay):
        import keras

        more = _decay_of(decay and DECAY, has_decay)
        return Keras(lambda: getattr(keras.optimizers, theirs)(learning_rate=lr, **given, **more))

    return Row(ours, options, "keras", f"keras.optimizers.{theirs}", make, decay, **settings)


def _zero_noise(learning_rate):
    return optax.noisy_sgd(learning_rate, eta=0.0, seed=0)


def _mechanized_adamw(learning_rate):
    return contrib.mechanize(optax.adamw(learning_rate, weight_decay=0.01))


def sklearn_sgd(params, momentum, nesterov):
    """Return scikit-learn's SGD for arrays."""
    from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

    return SGDOptimizer(params, 0.1, momentum=momentum, nesterov=nesterov)


def sklearn_adam(params):
    """Return scikit-learn's Adam for arrays."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    return AdamOptimizer(params, 0.1, epsilon=1e-3)


def of_sklearn(ours, options, theirs, make, **settings):
    """Return the row of an optimizer of scikit-learn."""
    return Row(ours, options, "scikit-learn", theirs, lambda lr, wd: Sklearn(make), **settings)


TORCH = [
    of_torch("SGD"),
    of_torch("SGD", momentum=0.9, dampening=0.3),
    of_torch("SGD", momentum=0.9, nesterov=True),
    of_torch("Adam"),
    of_torch("Adam", amsgrad=True),
    of_torch("Adam", eps=1e-3, maximize=True),
    of_torch("AdamW"),
    of_torch("AdamW", amsgrad=True),
    of_torch("NAdam"),
    of_torch("NAdam", decay=DECOUPLED),
    of_torch("RAdam"),
    of_torch("RAdam", betas=(0.9, 0.99), decay=DECOUPLED),
    of_torch("Adamax"),
    of_torch("RMSprop"),
    of_torch("RMSprop", centered=True, momentum=0.9),
    of_torch("Adagrad", lr_decay=0.01),
    of_torch("Adadelta", lr=0.5),
    of_torch("ASGD", lr=0.1, lambd=0.01, t0=10),
    of_torch("Rprop", decay=None),
    of_torch("Adafactor"),
    of_torch("Adafactor", eps=(1e-3, 1e-2), d=1.5, maximize=True),
    of_torch(
        "Muon", layout="oi", renamed=("layout",), shapes=MATRICES, bound=2e-2, bound32=2e-2,
        note="torch multiplies in bfloat16",
    ),
    of_torch(
        "Muon", layout="oi", adjust_lr_fn="match_rms_adamw", renamed=("layout",), shapes=MATRICES,
        bound=2e-2,
        bound32=2e-2, note="torch multiplies in bfloat16",
    ),
]  # fmt: skip

OPTAX = [
    of_optax("SGD", optax.sgd, {"momentum": 0.9}, {"momentum": 0.9}),
    of_optax("SGD", optax.sgd, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    of_optax("Adam", optax.adam, {"eps_root": 1e-3}, {"eps_root": 1e-3}),
    of_optax(
        "Adam", optax.amsgrad, {"amsgrad": True, "amsgrad_corrected": True, "eps_root": 1e-3},
        {"eps_root": 1e-3}
    ),
    of_optax("AdamW", optax.adamw, {}, {}, decay=DECAY, wd=DECAY),
    of_optax("NAdam", optax.nadam, {"momentum_decay": None}, {}),
    of_optax(
        "NAdam", optax.nadamw, {"momentum_decay": None, "decoupled_weight_decay": True},
        {}, decay=DECAY, wd=DECAY,
    ),
    of_optax("RAdam", optax.radam, {"eps": 1e-3, "eps_mode": "corrected"}, {"eps": 1e-3}),
    of_optax("Adamax", optax.adamax, {}, {}),
    of_optax("Adamax", optax.adamaxw, {"decoupled_weight_decay": True}, {}, decay=DECAY, wd=DECAY),
    of_optax(
        "RMSprop", optax.rmsprop, {"alpha": 0.9, "eps_in_sqrt": True, "lr_in_momentum": True}, {}
    ),
    of_optax(
        "RMSprop", optax.rmsprop,
        {"alpha": 0.9, "eps_in_sqrt": True, "lr_in_momentum": True, "momentum": 0.9, "centered": True},
        {"momentum": 0.9, "centered": True},
    ),
    of_optax(
        "Adagrad", optax.adagrad, {"initial_accumulator_value": 0.1, "eps": 1e-7, "eps_in_sqrt": True}, {}
    ),
    of_optax("Adadelta", optax.adadelta, {}, {}, lr=0.5),
    of_optax("Lion", optax.lion, {}, {"weight_decay": 0.0}),
    of_optax("Lion", optax.lion, {"weight_decay": 1e-3}, {}),
    of_optax("SignSGD", optax.sign_sgd, {}, {}),
    of_optax("Signum", optax.signum, {}, {}),
    of_optax("AdaBelief", optax.adabelief, {}, {}),
    of_optax("AcProp", contrib.acprop, {}, {}, decay=DECAY, wd=DECAY),
    of_optax("Yogi", optax.yogi, {}, {}),
    of_optax("ADOPT", contrib.adopt, {}, {}),
    of_optax("AdEMAMix", contrib.ademamix, {"alpha": 5.0}, {}, decay=DECAY, wd=DECAY),
    of_optax("OptimisticGradientDescent", optax.optimistic_gradient_descent, {"alpha": 1.5, "beta": 0.5},
             {"alpha": 1.5, "beta": 0.5}),
    of_optax("OptimisticAdam", optax.optimistic_adam_v2, {}, {"nesterov": False}),
    of_optax("COCOB", contrib.cocob, {}, {}, decay=DECAY, wd=DECAY, lr=1.0, skip=("rates",),
             note="optax's rate multiplies the gradient"),
    of_optax("MADGRAD", contrib.madgrad, {}, {}, decay=DECAY, wd=DECAY, bound=1e-7, skip=("rates",),
             note="keeps a scalar in float32, and moves a little with a rate of 0"),
    of_optax("LARS", optax.lars, {}, {}, decay=DECAY, wd=DECAY, lr=0.1),
    of_optax("LARS", optax.lars, {"nesterov": True, "trust_coefficient": 0.02, "eps": 0.1},
             {"nesterov": True, "trust_coefficient": 0.02, "eps": 0.1}, decay=DECAY, wd=DECAY, lr=0.1),
    of_optax("LAMB", optax.lamb, {}, {}, decay=DECAY, wd=DECAY),
    of_optax("NovoGrad", optax.novograd, {}, {}, decay=DECAY, wd=DECAY),
    of_optax("Fromage", optax.fromage, {}, {}),
    of_optax("SM3", optax.sm3, {}, {}, shapes=((7,), (6, 5), (9, 4)),
             note="from three axes on optax keeps an accumulator for each axis"),
    of_optax("NoisySGD", optax.noisy_sgd, {"eta": 0.0}, {}, factory=_zero_noise,
             note="without noise: the noise is each library's own"),
    of_optax("DoG", contrib.dog, {}, {}, joint=True, decay=DECAY, wd=DECAY, lr=1.0),
    of_optax("DoWG", contrib.dowg, {}, {}, joint=True, decay=DECAY, wd=DECAY, lr=1.0),
    of_optax("Prodigy", contrib.prodigy, {"use_bias_correction": True, "d0": 1e-2}, {"estim_lr0": 1e-2},
             joint=True, decay=DECAY, wd=DECAY, lr=1.0, skip=("rates",),
             note=f"{_JOINT}, and goes on with a rate of 0"),
    of_optax("PolyakSGD", optax.polyak_sgd, {}, {"variant": "sps+"}, joint=True, value=True,
             rate="max_learning_rate", lr=0.1),
    of_optax("MoMo", contrib.momo, {}, {}, joint=True, value=True, lr=0.1,
             note=f"{_JOINT}; decay comes before the step there"),
    of_optax("MoMo", contrib.momo, {"lower_bound": 4.0, "adapt_lower_bound": True},
             {"lower_bound": 4.0, "adapt_lower_bound": True}, joint=True, value=True, lr=0.1),
    of_optax("MoMoAdam", contrib.momo_adam, {}, {}, joint=True, value=True, lr=0.1,
             note=f"{_JOINT}; decay comes before the step there"),
    of_optax("Mechanic", contrib.mechanize, {}, {}, factory=_mechanized_adamw, joint=True, lr=0.01,
             bound=1e-9),
    of_optax("ScheduleFreeSGD", contrib.schedule_free_sgd, {}, {}, joint=False, decay=DECAY, wd=DECAY,
             lr=0.1),
    of_optax("ScheduleFreeAdamW", contrib.schedule_free_adamw, {}, {}, decay=DECAY, wd=DECAY),
]  # fmt: skip

KERAS = [
    of_keras("SGD", "SGD", {"momentum": 0.9, "lr_in_momentum": True}, {"momentum": 0.9}, decay=DECOUPLED),
    of_keras("SGD", "SGD", {"momentum": 0.9, "nesterov": True, "lr_in_momentum": True},
             {"momentum": 0.9, "nesterov": True}, decay=DECOUPLED),
    of_keras("Adam", "Adam", {"eps": 1e-7, "eps_mode": "hat"}, {}, decay=DECOUPLED),
    of_keras("Adam", "Adam", {"eps": 1e-7, "eps_mode": "hat", "amsgrad": True}, {"amsgrad": True}),
    of_keras("AdamW", "AdamW", {"eps": 1e-7, "eps_mode": "hat", "weight_decay": 0.004}, {}),
    of_keras("NAdam", "Nadam", {"eps": 1e-7, "momentum_decay": 1.0}, {}),
    of_keras("Adamax", "Adamax", {"eps": 1e-7, "eps_in_max": False}, {}),
    of_keras("RMSprop", "RMSprop",
             {"alpha": 0.9, "eps": 1e-7, "eps_in_sqrt": True, "lr_in_momentum": True, "momentum": 0.9},
             {"momentum": 0.9}),
    of_keras("RMSprop", "RMSprop",
             {"alpha": 0.9, "eps": 1e-7, "eps_in_sqrt": True, "lr_in_momentum": True, "centered": True},
             {"centered": True}),
    of_keras("Adagrad", "Adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-7, "eps_in_sqrt": True},
             {}),
    of_keras("Adadelta", "Adadelta", {"rho": 0.95, "eps": 1e-7}, {}, lr=0.5),
    of_keras("FTRL", "Ftrl", {"l1": 0.05, "l2": 0.1, "l2_shrinkage": 0.2, "beta": 0.3},
             {"l1_regularization_strength": 0.05, "l2_regularization_strength": 0.1,
              "l2_shrinkage_regularization_strength": 0.2, "beta": 0.3}, lr=0.1, skip=("rates",),
             note="the rate divides, so that it cannot be 0"),
    of_keras("Lion", "Lion", {}, {}, decay=DECAY),
    of_keras("LAMB", "Lamb", {"eps": 1e-7, "decay_in_ratio": False}, {}, decay=DECAY),
    of_keras("Muon", "Muon", {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.004, "nesterov": True},
             {},
             shapes=MATRICES, bound=1e-6, bound32=1e-3),
    of_keras("ScheduleFreeAdamW", "ScheduleFreeAdamW", {}, {}, skip=("rates",)),
]  # fmt: skip


def _normuon(params, lr, weight_decay=0.0):
    import pytorch_optimizer

    group = {"params": params, "use_muon": True, "lr": lr, "weight_decay": weight_decay}
    return pytorch_optimizer.NorMuon([group])


SPECIAL = [
    Row("NorMuon", {"layout": "oi"}, "pytorch_optimizer", "pytorch_optimizer.NorMuon",
        lambda lr, wd: Torch(lambda params: _normuon(params, lr, **_decay_of(DECAY, wd)), separate=True),
        DECAY, shapes=MATRICES, bound=2e-2, bound32=2e-2, note="multiplies in bfloat16"),
    Row("SparseAdam", {}, "torch", "torch.optim.SparseAdam",
        lambda lr, wd: Torch(lambda params: torch.optim.SparseAdam(params, lr=lr), sparse=True),
        note="gradients of some rows"),
]  # fmt: skip

SKLEARN = [
    of_sklearn("SGD", {"momentum": 0.9, "lr_in_momentum": True}, "SGDOptimizer",
               functools.partial(sklearn_sgd, momentum=0.9, nesterov=False)),
    of_sklearn("SGD", {"momentum": 0.9, "nesterov": True, "lr_in_momentum": True}, "SGDOptimizer",
               functools.partial(sklearn_sgd, momentum=0.9, nesterov=True)),
    of_sklearn("Adam", {"eps": 1e-3, "eps_mode": "hat"}, "AdamOptimizer", sklearn_adam),
]  # fmt: skip

AUTHORS = [
    of_package("lion-pytorch", "lion_pytorch", "Lion", "Lion", {}, {}, decay=DECAY, wd=DECAY),
    of_package("adabelief-pytorch", "adabelief_pytorch", "AdaBelief", "AdaBelief", {},
               {"rectify": False, "print_change_log": False}, decay=DECAY, wd=DECAY, bound=1e-10),
    of_package("madgrad", "madgrad", "MADGRAD", "MADGRAD", {}, {}, decay=DECAY, wd=DECAY, separate=True,
               note="its step is counted by optimizer"),
    of_package("prodigyopt", "prodigyopt", "Prodigy", "Prodigy", {"d0": 1e-2},
               {"decouple": True, "d0": 1e-2}, decay=DECAY, wd=DECAY, lr=1.0),
    of_package("prodigyopt", "prodigyopt", "Prodigy", "Prodigy",
               {"d0": 1e-2, "use_bias_correction": True, "growth_rate": 1.02, "d_coef": 2.0,
               "safeguard_warmup": True},
               {"d0": 1e-2, "use_bias_correction": True, "growth_rate": 1.02, "d_coef": 2.0,
               "safeguard_warmup": True,
                "decouple": True}, decay=DECAY, wd=DECAY, lr=1.0),
    of_package("dadaptation", "dadaptation", "DAdaptAdam", "DAdaptAdam", {"d0": 1e-3}, {"d0": 1e-3},
               decay=DECAY, wd=DECAY, lr=1.0),
    of_package("dadaptation", "dadaptation", "DAdaptAdam", "DAdaptAdam", {"d0": 1e-3,
               "use_bias_correction": True,
               "growth_rate": 1.1, "decoupled_weight_decay": True}, {"d0": 1e-3,
               "use_bias_correction": True,
               "growth_rate": 1.1, "decouple": True}, decay=DECAY, wd=DECAY, lr=1.0),
    of_package("dog-optimizer", "dog", "DoG", "DoG", {}, {}, decay=DECAY, wd=DECAY, lr=1.0, skip=("gaps",),
               note="stops at a gradient that is missing"),
    of_package("momo-opt", "momo", "Momo", "MoMo", {}, {}, decay=DECAY, wd=DECAY, lr=0.1, takes_loss=True,
               skip=("gaps",), note="needs all gradients"),
    of_package("momo-opt", "momo", "MomoAdam", "MoMoAdam", {}, {}, decay=DECAY, wd=DECAY, lr=0.1,
               takes_loss=True,
               skip=("gaps",), note="needs all gradients"),
    of_package("parameterfree", "parameterfree", "COCOB", "COCOB", {}, {}, decay=DECAY, wd=DECAY, lr=1.0,
               skip=("rates",), note="has no rate"),
    of_package("schedulefree", "schedulefree", "SGDScheduleFree", "ScheduleFreeSGD", {"warmup_steps": 5,
               "r": 1.0},
               {"warmup_steps": 5, "r": 1.0}, decay=DECAY, wd=DECAY, lr=0.1, separate=True,
               note="its steps are counted by group"),
    of_package("schedulefree", "schedulefree", "AdamWScheduleFree", "ScheduleFreeAdamW",
               {"warmup_steps": 5},
               {"warmup_steps": 5}, decay=DECAY, wd=DECAY, separate=True,
               note="its steps are counted by group"),
    of_package("schedulefree", "schedulefree", "RAdamScheduleFree", "ScheduleFreeRAdam", {}, {},
               decay=DECAY,
               wd=DECAY, separate=True, note="its steps are counted by group"),
    of_package("schedulefree", "schedulefree", "RAdamScheduleFree", "ScheduleFreeRAdam",
               {"betas": (0.9, 0.99), "silent_sgd_phase": False}, {"betas": (0.9, 0.99),
               "silent_sgd_phase": False},
               decay=DECAY, wd=DECAY, separate=True, note="its steps are counted by group"),
]  # fmt: skip

TIMM = [
    of_package("timm", "timm.optim.adan", "Adan", "Adan", {}, {}, decay=DECAY, wd=DECAY, separate=True,
               note="its steps are counted by group"),
    of_package("timm", "timm.optim.adan", "Adan", "Adan", {"no_prox": True}, {"no_prox": True},
               decay=DECAY, wd=DECAY,
               separate=True, note="its steps are counted by group"),
    of_package("timm", "timm.optim.adopt", "Adopt", "ADOPT", {"betas": (0.9, 0.99)},
               {"betas": (0.9, 0.99), "clip_exp": 0.25}, decay=DECAY, wd=DECAY,
               note="decoupled decay begins with the second step there"),
    of_package("timm", "timm.optim.lamb", "Lamb", "LAMB", {"always_adapt": False}, {"max_grad_norm": None},
               decay=DECAY, wd=DECAY, separate=True, note="its steps are counted by group"),
    of_package("timm", "timm.optim.lars", "Lars", "LARS",
               {"norm": "sum", "lr_in_momentum": False, "always_adapt": False, "eps": 1e-8},
               {"momentum": 0.9}, decay=DECAY, wd=DECAY, lr=0.1),
    of_package("timm", "timm.optim.lars", "Lars", "LARS",
               {"norm": "sum", "lr_in_momentum": False, "nesterov": True, "trust_coefficient": 0.02,
               "eps": 1e-8},
               {"momentum": 0.9, "nesterov": True, "trust_coeff": 0.02, "always_adapt": True}, decay=DECAY,
               wd=DECAY,
               lr=0.1),
    of_package("timm", "timm.optim.madgrad", "MADGRAD", "MADGRAD", {}, {}, decay=DECAY, wd=DECAY,
               skip=("rates",), note="moves a little with a rate of 0"),
    of_package("timm", "timm.optim.mars", "Mars", "MARS", {"optimize_1d": True}, {"betas": (0.95, 0.99),
               "optimize_1d": True},
               decay=DECAY, wd=DECAY),
    of_package("torch-optimizer", "torch_optimizer.yogi", "Yogi", "Yogi", {}, {}, decay=DECAY, wd=DECAY),
]  # fmt: skip

PO = [
    of_package("pytorch_optimizer", "pytorch_optimizer", "Adan", "Adan", {}, {}, decay=DECAY, wd=DECAY,
               separate=True),
    of_package("pytorch_optimizer", "pytorch_optimizer", "AdEMAMix", "AdEMAMix", {"alpha": 5.0},
               {"weight_decouple": True}, decay=DECAY, wd=DECAY, separate=True),
    of_package("pytorch_optimizer", "pytorch_optimizer", "AdEMAMix", "AdEMAMix",
               {"alpha": 5.0, "alpha_warmup": 20, "beta3_warmup": 20},
               {"t_alpha_beta3": 20, "weight_decouple": True}, decay=DECAY, wd=DECAY, separate=True,
               bound=1e-6,
               note="leaves out the 1e-8 that the authors add to the betas of the warm-up"),
    of_package("pytorch_optimizer", "pytorch_optimizer", "MARS", "MARS", {"optimize_1d": True},
               {"optimize_1d": True}, decay=DECAY, wd=DECAY, separate=True, bound=1e-6,
               note="adds 1e-15 under the root"),
    of_package("pytorch_optimizer", "pytorch_optimizer", "NovoGrad", "NovoGrad",
               {"betas": (0.95, 0.98), "eps": 1e-8}, {}, decay=DECAY, wd=DECAY, separate=True),
    of_package("pytorch_optimizer", "pytorch_optimizer", "SOAP", "SOAP", {"precondition_frequency": 5},
               {"precondition_frequency": 5}, decay=DECAY, wd=DECAY, separate=True, shapes=SQUARES,
               bound=1e-4,
               bound32=1e-2, note="turns the basis in float32"),
    of_package("pytorch_optimizer", "pytorch_optimizer", "Shampoo", "Shampoo", {"eps": 1e-2},
               {"matrix_eps": 1e-2}, decay=DECAY, wd=DECAY, separate=True, shapes=MATRICES, bound=1e-9,
               bound32=1e-3),
    of_package("pytorch_optimizer", "pytorch_optimizer", "DAdaptAdam", "DAdaptAdam", {"d0": 1e-3},
               {"d0": 1e-3},
               decay=DECAY, wd=DECAY, lr=1.0, skip=("rates",),
               note="goes on with a rate of 0"),
    of_package("pytorch_optimizer", "pytorch_optimizer", "AdaBelief", "AdaBelief", {}, {}, decay=DECAY,
               wd=DECAY,
               separate=True),
    of_package("pytorch_optimizer", "pytorch_optimizer", "SignSGD", "Signum", {}, {}, decay=DECAY,
               wd=DECAY),
]  # fmt: skip

ROWS = [*TORCH, *OPTAX, *KERAS, *SKLEARN, *AUTHORS, *TIMM, *PO, *SPECIAL]
