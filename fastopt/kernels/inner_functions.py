"""Functions that only compiled code calls: inlined or linked into their callers, never machine code alone.

Numba translates every compiled function to machine code, and wraps it for Python and for C. A function that
is only called from others is in their machine code again, so its own is work for nothing: a fifth of the time
of a first fit. Numba also looks for what can be rewritten in each, several times over: passes that could
find nothing are left out, another twentieth.
"""

from types import CodeType

from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.typed_passes import NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes


class _NoMachineCode:
    """In place of the code generator, which would look for the function's environment in machine code.

    The environment holds objects of Python, for `print` and exceptions. Numba gives none to such functions
    when it loads their callers from a cache, so none of them may need it.
    """

    def set_env(self, name, environment):
        pass


class _LinkedLibrary(JITCodeLibrary):
    """A function's LLVM code for those that link it, without machine code, optimised function by function."""

    codegen = _NoMachineCode()

    def _optimize_final_module(self):
        """Do nothing: what links this code is optimised as a whole, this code inlined into it or not."""

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0  # as for any function without a wrapper for Python


class InnerCompiler(Compiler):
    """Numba's compiler, whose results other compiled functions can call, and Python cannot."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        if library is None:
            library = _LinkedLibrary(targetctx.codegen(), "inner")
            library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)

    def define_pipelines(self):
        """Return Numba's passes without those that look for what this function does not have."""
        pipelines, needless = super().define_pipelines(), set()
        if not any(isinstance(one, CodeType) for one in self.state.func_id.code.co_consts):
            needless.add(InlineClosureLikes)  # neither closures nor comprehensions
        if not any(isinstance(one, types.Array) for one in self.state.args):
            needless.add(NopythonRewrites)  # no expressions of arrays, which it fuses into one loop
        for one in pipelines:
            one.passes = [(kind, *rest) for kind, *rest in one.passes if kind not in needless]
        return pipelines


#: Options of `numba.njit` for such functions.
INNER_OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": InnerCompiler}
