"""Steppers: an optimizer's state beside the arrays that it updates in place, in CPU or CUDA memory.

Internal: it may change in any version (docs/stability.md).
"""
