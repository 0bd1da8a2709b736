"""The choice of a device and its trainer."""

import functools
from typing import TYPE_CHECKING, Any

from fastopt.engine.cpu.trainer import Trainer
from fastopt.kernels.cuda import api as cuda

if TYPE_CHECKING:
    from fastopt.engine.cuda.trainer import Trainer as CudaTrainer


@functools.cache
def resolve(device: str) -> str:
    """Return the device that a name such as 'auto' stands for.

    Parameters
    ----------
    device : {'cpu', 'auto', 'cuda', 'cuda:N'}
        ``'auto'`` takes the first GPU if there is a usable one; ``'cuda'`` is ``'cuda:0'``.

    Returns
    -------
    str
        ``'cpu'`` or ``'cuda:N'``.

    Raises
    ------
    DeviceError
        If a GPU is asked for that cannot be used; the message says what is missing.

    Examples
    --------
    >>> from fastopt.engine import resolve
    >>> resolve("cpu")
    'cpu'
    """
    if device == "cpu" or (device == "auto" and cuda.problem()):
        return "cpu"
    if device != "auto":
        cuda.require(device)
    resolved, known = f"cuda:{int(device.partition(':')[2] or 0)}", cuda.names()
    if resolved not in known:
        raise cuda.DeviceError(
            f"device={device!r} was asked for, but this machine has {', '.join(map(repr, known))}"
        )
    return resolved


def make_trainer(device: str, **network: Any) -> "Trainer | CudaTrainer":
    """Return the trainer of a resolved device for a network; see `fastopt.engine.Trainer`."""
    if device == "cpu":
        return Trainer(**network)
    from fastopt.engine.cuda.trainer import Trainer as CudaTrainer

    return CudaTrainer(**network, device=device)
