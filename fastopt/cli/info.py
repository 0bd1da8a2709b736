"""``info``: versions, devices and threads, for a bug report, and hints on how to use the machine better."""

from __future__ import annotations

import os
import platform

from .. import __version__

_PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "scikit-learn", "threadpoolctl", "tbb")
_EXTRAS = {
    "cli": ("rich", "matplotlib", "jinja2", "pandas", "narwhals"),
    "dask": ("dask", "distributed"),
    "files": ("safetensors",),
    "mlflow": ("mlflow",),
    "onnx": ("onnx", "onnxruntime", "skl2onnx"),
    "optuna": ("optuna",),
    "tables": ("pandas", "pyarrow", "openpyxl", "narwhals", "fsspec"),
}


_NO_FOLDER = "none is writable, every process compiles its kernels; set NUMBA_CACHE_DIR to a folder that is"


def add_arguments(parser):
    """Add the arguments of ``info``; return the function that runs it."""
    return _info


def _info(arguments):
    for heading, rows in (
        ("Versions", _versions()),
        ("Threads", _threads()),
        ("Devices", _devices()),
        ("Cache", _cache()),
    ):
        print(heading)
        for name, value in rows.items():
            print(f"  {name:<22} {value}")


def _version(package):
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions():
    rows = {"fastopt": __version__, "Python": platform.python_version()}
    rows.update({package: _version(package) or "not installed" for package in _PACKAGES})
    for extra, packages in _EXTRAS.items():
        absent = [package for package in packages if _version(package) is None]
        rows[f"extra [{extra}]"] = "complete" if not absent else f"without {', '.join(absent)}"
    rows["system"] = platform.platform()
    return rows


def _threads():
    from threadpoolctl import threadpool_info

    from ..kernels import threading_layer

    state = threading_layer.describe()
    rows = {
        "processors": os.cpu_count(),
        "threads in use": f"{state['n_threads']} of {state['n_threads_started']} (NUMBA_NUM_THREADS)",
        "threading layer": state["layer"],
        "TBB library": state["tbb"] or "not loaded by fastopt",
    }
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            name = f"BLAS {pool['prefix']}"
            rows[name] = f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
    return rows


def _devices():
    from ..kernels.cuda import api as cuda

    rows = {"cpu": _cpu_name()}
    reason = cuda.problem()
    return {**rows, "cuda": reason} if reason else {**rows, **cuda.names()}


def _cpu_name():
    import llvmlite.binding as llvm

    return f"{platform.processor() or platform.machine()} ({llvm.get_host_cpu_name()})"


def _cache():
    from pathlib import Path

    from ..kernels import cache_folders

    kept = cache_folders.writable_folder()
    where = f"{kept.path} ({kept.origin})" if kept else _NO_FOLDER
    rows = {"folder": where}
    for folder in cache_folders.folders():
        files = list(Path(folder.path).glob("*.nbc")) if folder.is_trusted() else []
        if files:
            size = sum(file.stat().st_size for file in files) / 1e6
            rows[folder.origin] = f"{len(files)} compiled kernels, {size:.1f} MB"
    return rows
