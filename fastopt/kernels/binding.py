"""Binding: makes compiled kernels from a rule and a template, with a disk cache that never goes stale.

The cache (`code_cache`, as Numba's) looks at the content of a function's file, its qualified name, first
line and bytecode. It does not look at what the function calls or at its globals. A loop that calls a rule
from another file would therefore hit a stale entry after an edit of the rule. ``bind`` makes the loop
look as if it stood in the rule's own file, under a name that carries a digest of this folder.
"""

import dis
import hashlib
import types
from pathlib import Path

from numba import config, njit

from fastopt.kernels import code_cache
from fastopt.kernels.compilers import INNER_OPTIONS, WITH_MEMORY, WITHOUT_MEMORY
from fastopt.rules import bits, randomness

#: ``error_model="numpy"``: under the default a division may raise, and then nothing vectorises.
#: fastmath stays off: ``nnan`` would delete the checks that notice a diverged loss, and even ``contract``
#: (8 % faster for Adam in cache) rounds ``keep * w - step`` once where torch does twice: 1e-5 apart after
#: 100 steps in float32.
JIT_OPTIONS = {"error_model": "numpy"}


def digest(file, *others):
    """Return a hash of eight digits of all source files in the folder of ``file``, and of the others."""
    files = [*sorted(Path(file).parent.glob("*.py")), *map(Path, others)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


_DIGEST = digest(__file__, bits.__file__, randomness.__file__)  # which rules and kernels call


def bind(loop, source, suffix="", digest=_DIGEST, **names):
    """Return a copy of a template with the globals ``names``, cached as part of the file of ``source``.

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
    own = "" if source is loop else fingerprint(source)
    name = f"{source.__name__}_{loop.__name__}{suffix}_{digest}{own}"
    changes = {"co_filename": at.co_filename, "co_firstlineno": at.co_firstlineno, "co_name": name}
    if hasattr(at, "co_qualname"):  # Python >= 3.11
        changes["co_qualname"] = name
    code = loop.__code__.replace(**changes)
    bound = types.FunctionType(code, {"__name__": source.__module__, **names}, name)
    bound.__qualname__ = name
    bound.__module__ = source.__module__
    return bound


def fingerprint(*functions):
    """Return a hash of eight digits of the code of plain functions, and of the globals that they read.

    Covers closures, numbers among the globals, and the functions that these call, in any file. Numba's cache
    sees none of that in a function that only calls them.
    """
    parts = []
    for function in functions:
        _describe(function, parts, set())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _describe(value, parts, seen):
    value = getattr(value, "py_func", value)  # what Numba has already wrapped
    if not isinstance(value, types.FunctionType):
        parts.append(value.__name__ if isinstance(value, types.ModuleType) else repr(value))
    elif id(value) not in seen:
        seen.add(id(value))
        code = value.__code__
        parts.append(f"{code.co_code.hex()} {code.co_names} {code.co_varnames}")
        parts += [repr(constant) for constant in code.co_consts if constant != value.__doc__]
        read = [value.__globals__[name] for name in sorted(value.__globals__.keys() & global_names(value))]
        for module in [other for other in read if isinstance(other, types.ModuleType)]:
            read += [getattr(module, name) for name in code.co_names if hasattr(module, name)]
        for other in [*read, *(cell.cell_contents for cell in value.__closure__ or ())]:
            _describe(other, parts, seen)


def compile_c(signature, function, **options):
    """Compile a bound loop to a C function, or load it from the disk cache.

    Parameters
    ----------
    signature : Signature
        Numba's, of the C function.
    function : function
        What `bind` returned.
    **options
        Of the compiler, beside `JIT_OPTIONS`.

    Returns
    -------
    CFunc
        Its ``address`` stays valid for the life of the process, if the object is kept.

    Raises
    ------
    RuntimeError
        If Numba's compiler is switched off.
    """
    if config.DISABLE_JIT:
        raise RuntimeError(
            "fastopt runs compiled loops only, and NUMBA_DISABLE_JIT=1 has switched Numba's compiler off; "
            "unset it before Python starts"
        )
    return code_cache.cfunc(signature, **JIT_OPTIONS | WITHOUT_MEMORY | options)(function)


#: Of functions of scalars. ``fastmath`` is off in so many words: Numba gives a function that says nothing
#: the flags of its caller, and a rule's arithmetic must not be reordered with the sums of a sweep.
SCALAR_JIT = JIT_OPTIONS | INNER_OPTIONS | WITH_MEMORY | {"fastmath": False}


def compile_scalar(function, scalar, options=SCALAR_JIT, replaced=()):
    """Compile a function of scalars (a rule, or a helper of one) for arrays of type ``scalar``.

    Its float literals become of that type: to Numba a literal is float64 and would drag float32 arithmetic
    with it. The plain functions that it calls are compiled likewise: Numba calls only what it compiled.

    Parameters
    ----------
    function : function
    scalar : type
        `numpy.float32` or `numpy.float64`.
    options : mapping
        Of `numba.njit`; by default those of functions that only compiled code calls.
    replaced : sequence of pairs
        Globals, and what compiled code shall use in their place.
    """
    names = dict(function.__globals__)
    for name in names.keys() & global_names(function):
        known = names[name]
        other = replacement(known, replaced)
        if other is not known:
            names[name] = other
        elif isinstance(known, types.FunctionType):
            names[name] = compile_scalar(known, scalar, options, replaced)
    return njit(**options)(typed_literals(function, scalar, names))


def global_names(function):
    """Return the names that a function reads as globals: ``co_names`` has those of attributes as well."""
    return {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}


def replacement(value, replaced):
    """Return the replacement of a global, from a sequence of pairs (old, new), or the global itself."""
    return next((other for known, other in replaced if value is known), value)


def typed_literals(function, scalar, names):
    """Return a copy of ``function`` with float literals of the type ``scalar`` and the globals ``names``."""
    code = function.__code__
    constants = tuple(scalar(c) if type(c) is float else c for c in code.co_consts)
    code = code.replace(co_consts=constants)
    return types.FunctionType(code, names, function.__name__, None, function.__closure__)
