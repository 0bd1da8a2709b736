"""Steppers: they hold an optimizer's state and update arrays in place, in CPU or CUDA memory.

Internal: it may change in any version (docs/stability.md).
"""
