"""How one rule becomes many compiled kernels that the disk cache can trust.

Numba's cache looks at the content of a function's file, its qualified name, first line and bytecode. It
does not look at what the function calls, at its globals or at the JIT options. A loop that calls a rule
from another file would therefore hit a stale entry after an edit of the rule. ``bind`` makes the loop
look as if it stood in the rule's own file, under a name that carries a digest of this folder.
"""

import hashlib
import types
from pathlib import Path

from numba import njit

from fastopt.rules import bits, randomness

#: ``error_model="numpy"``: under the default a division may raise, and then nothing vectorises.
#: fastmath stays off: ``nnan`` would delete the checks that notice a diverged loss, and even ``contract``
#: (8 % faster for Adam in cache) rounds ``keep * w - step`` once where torch does twice: 1e-5 apart after
#: 100 steps in float32.
JIT_OPTIONS = {"error_model": "numpy"}


def digest(file, *others):
    """Return eight digits that change with any edit in the folder of ``file`` or in one of the others."""
    files = [*sorted(Path(file).parent.glob("*.py")), *map(Path, others)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


_DIGEST = digest(__file__, bits.__file__, randomness.__file__)  # which rules and kernels call


def bind(loop, source, suffix="", digest=_DIGEST, **names):
    """Return a copy of ``loop`` that lives in ``source``'s file and whose globals are ``names``.

    Parameters
    ----------
    loop : function
        A template of this folder; the names it leaves free are given by ``names``.
    source : function
        The plain rule. An edit of its file is a cache miss, because the copy carries that file and line.
    suffix : str
        Tells kernels of one rule and one loop apart, for example by dtype.
    digest : str
        Of every folder whose code the kernel calls, so that an edit there is a miss as well.
    **names
        The globals of the copy. A dispatcher as a *global* is cacheable, as a closure cell it is not.
    """
    at = source.__code__
    name = f"{source.__name__}_{loop.__name__}{suffix}_{digest}"
    changes = {"co_filename": at.co_filename, "co_firstlineno": at.co_firstlineno, "co_name": name}
    if hasattr(at, "co_qualname"):  # Python >= 3.11
        changes["co_qualname"] = name
    code = loop.__code__.replace(**changes)
    bound = types.FunctionType(code, {"__name__": source.__module__, **names}, name)
    bound.__qualname__ = name
    bound.__module__ = source.__module__
    return bound


def compile_scalar(function, scalar):
    """Compile a function of scalars (a rule, or a helper of one) for arrays of type ``scalar``.

    Its float literals become of that type: to Numba a literal is float64 and would drag float32 arithmetic
    with it. The plain functions that it calls are compiled likewise: Numba calls only what it compiled.
    """
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        helper = names.get(name)
        if isinstance(helper, types.FunctionType):
            names[name] = compile_scalar(helper, scalar)
    return njit(**JIT_OPTIONS)(typed_literals(function, scalar, names))


def typed_literals(function, scalar, names):
    """Return a copy of ``function`` with float literals of type ``scalar`` and the globals ``names``."""
    code = function.__code__
    constants = tuple(scalar(c) if type(c) is float else c for c in code.co_consts)
    code = code.replace(co_consts=constants)
    return types.FunctionType(code, names, function.__name__, None, function.__closure__)
