"""Kernels for a GPU. `api` is the one module that imports numba.cuda."""
