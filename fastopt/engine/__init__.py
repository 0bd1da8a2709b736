"""The training step on flat buffers: layouts, compiled passes, and the CPU trainer."""

from fastopt.engine.cpu import Trainer
from fastopt.engine.driver import warmup
from fastopt.engine.layout import Layout

__all__ = ["Layout", "Trainer", "warmup"]
