"""The mathematics: one scalar function per optimizer.

Internal: it may change in any version (docs/stability.md). `fastopt.register` is the public way in.
"""

import fastopt._kernel_cache as _kernel_cache

_kernel_cache.ensure()  # before any function is decorated
