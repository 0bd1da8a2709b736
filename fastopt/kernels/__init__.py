"""Compiled, disk-cached kernels made from the rules; the only loops over parameters.

Internal: it may change in any version (docs/stability.md).
"""

import fastopt._kernel_cache as _kernel_cache

_kernel_cache.ensure()  # before any function is decorated
