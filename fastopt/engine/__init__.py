"""The training engine: the compiled training loop on flat vectors, with a trainer for each device.

Internal: it may change in any version (docs/stability.md).
"""

from fastopt.engine.cpu.compilation import warmup
from fastopt.engine.cpu.members import Member, MemberTrainer
from fastopt.engine.cpu.trainer import Trainer
from fastopt.engine.devices import make_trainer, resolve
from fastopt.engine.layout import Layout

__all__ = ["Layout", "Member", "MemberTrainer", "Trainer", "make_trainer", "resolve", "warmup"]
