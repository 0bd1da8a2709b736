"""Arguments of the estimators that rounds on a cluster cannot follow, refused in words."""

from typing import Any

from fastopt.neural_network import solvers
from fastopt.stepping import scheduling


def check_supported(estimator: Any, *, has_validation_set: bool) -> None:
    """Raise ValueError for an argument that has no meaning in rounds, and say what does instead."""
    owner = type(estimator).__name__
    refused = {
        f"solver={estimator.solver!r}": (
            solvers.is_lbfgs(estimator.solver),
            "L-BFGS takes all rows in every step; choose a solver of mini-batches",
        ),
        f"device={estimator.device!r}": (
            estimator.device != "cpu",
            "tasks train on the CPU of their worker; device='cpu'",
        ),
        "early_stopping=True": (
            estimator.early_stopping and not has_validation_set,
            "rows are held out before: pass X_val and y_val",
        ),
        f"learning_rate={estimator.learning_rate!r}": (
            isinstance(estimator.learning_rate, str)
            and estimator.learning_rate in ("adaptive", "invscaling"),
            "it is set after each epoch, and tasks know their round only; take a schedule of steps",
        ),
        f"scoring={estimator.scoring!r}": (
            estimator.scoring not in (None, "loss"),
            "a scorer takes all rows at once; None and 'loss' are summed over partitions",
        ),
        "reset_optimizer=False": (
            estimator.warm_start and not estimator.reset_optimizer,
            "the optimizer begins anew in each round",
        ),
        f"n_members={getattr(estimator, 'n_members', 1)!r}": (
            getattr(estimator, "n_members", 1) != 1,
            "train one network for each seed",
        ),
        "callbacks": ("_skl_callbacks" in vars(estimator), "none is called between rounds; set_callbacks()"),
        "checkpoint with warm_start=True": (
            estimator.checkpoint is not None and estimator.warm_start,
            "the file holds fits that begin anew",
        ),
    }
    for what, (is_refused, advice) in refused.items():
        if is_refused:
            raise ValueError(f"{owner} does not take {what}: {advice}.")


def check_schedules(owner: str, solver: Any) -> None:
    """Raise ValueError if a schedule of the solver reacts to losses, which tasks do not see."""
    hyper = solver.update.hyper
    if scheduling.observe(hyper, 1.0, False) != hyper:
        raise ValueError(
            f"{owner} does not take schedules that react to the loss, such as 'plateau': tasks know their "
            "round only; take a schedule of steps."
        )
