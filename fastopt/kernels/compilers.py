"""Compilers that keep first fits short: Numba's, without work that comes to nothing in this package.

Numba translates every compiled function to machine code, and wraps it for Python and for C. A function that
is only called from others is in their machine code again, so its own is work for nothing: a fifth of the time
of a first fit. Numba also looks for what can be rewritten in each function, several times over: passes that
could find nothing are left out. And wherever an operator stands, it asks dozens of templates what that
returns: here it remembers the answers, which saves a quarter of its own work.
"""

import functools
from types import CodeType

from numba import types
from numba.core import typing
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.typed_passes import AnnotateTypes, DumpParforDiagnostics, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes, MakeFunctionToJitFunction
from numba.extending import models, register_model


class _RememberingFunction(types.Function):
    """The type of an operator or a built-in function, with a memory of what it returns."""

    def __init__(self, function):
        super().__init__(function.templates)
        self._answers = {}

    def get_call_type(self, context, args, kws):
        if kws:
            return super().get_call_type(context, args, kws)
        question = tuple(args)
        if question not in self._answers:
            self._answers[question] = super().get_call_type(context, args, kws)
        return self._answers[question]


register_model(_RememberingFunction)(models.OpaqueModel)  # as of `types.Function`


class _RememberingContext(typing.Context):
    """Numba's typing context, which gives such types for the functions it knows."""

    def __init__(self, context):
        self.__dict__ = context.__dict__  # one context: what is declared later is known to both
        self._remembering = {}

    def _lookup_global(self, gv):
        found = super()._lookup_global(gv)
        if type(found) is not types.Function:
            return found
        # A function for which more templates have been declared is not equal to what it was.
        if found not in self._remembering:
            self._remembering[found] = _RememberingFunction(found)
        return self._remembering[found]


_remembering = functools.cache(_RememberingContext)


class QuickCompiler(Compiler):
    """Numba's compiler, without passes that look for what a function does not have."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
        # The target's context, which asks as well, is a copy for this function.
        self.state.typingctx = self.state.targetctx.typing_context = _remembering(typingctx)

    def define_pipelines(self):
        """Return Numba's passes without the needless ones."""
        pipelines, needless = super().define_pipelines(), {AnnotateTypes, DumpParforDiagnostics}  # for people
        if not any(isinstance(one, CodeType) for one in self.state.func_id.code.co_consts):
            needless |= {InlineClosureLikes, MakeFunctionToJitFunction}  # nor comprehensions
        if not any(isinstance(one, types.Array) for one in self.state.args):
            needless.add(NopythonRewrites)  # no expressions of arrays, which it fuses into one loop
        for one in pipelines:
            one.passes = [(kind, *rest) for kind, *rest in one.passes if kind not in needless]
        return pipelines


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


class InnerCompiler(QuickCompiler):
    """The same for functions that other compiled functions can call, and Python cannot."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        if library is None:
            library = _LinkedLibrary(targetctx.codegen(), "inner")
            library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)


#: Options of `numba.njit` for functions that make no arrays: those of others are not counted as in use.
#: Numba counts at each name of an array, and takes most of that out again. A function called takes these
#: options from its caller, so those that may make arrays say so.
WITHOUT_MEMORY, WITH_MEMORY = {"_nrt": False}, {"_nrt": True}
#: Options of `numba.njit` for such functions.
INNER_OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": InnerCompiler}
