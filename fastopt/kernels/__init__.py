"""Compiled, disk-cached kernels made from the rules; the only loops over parameters.

Internal: it may change in any version (docs/stability.md).
"""
