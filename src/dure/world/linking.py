"""How Numba is made to compile a large kernel in one go.

By itself Numba brings every function to machine code together with all that it calls: what lies at the bottom of the
kernel is optimized again for each function above it. Here a function that only compiled code calls is kept as it was
translated, and is optimized and made machine code once for each entry point that leads to it. That takes a third of
the time, and the optimizer sees the whole.
"""

from __future__ import annotations

from typing import Any

from numba._dynfunc import make_function
from numba.core import untyped_passes
from numba.core.codegen import CPUCodeLibrary, JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import AnnotateTypes, NativeLowering

_NOT_NEEDED = {
    AnnotateTypes,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.InlineClosureLikes,
    untyped_passes.InlineInlinables,
    untyped_passes.LiteralPropagationSubPipelinePass,
    untyped_passes.LiteralUnroll,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.RewriteDynamicRaises,
    untyped_passes.WithLifting,
}
"""Passes for what our functions do not contain, or for inspection."""


class _Part(JITCodeLibrary):
    """A function that only compiled code calls: as it was translated, with no machine code of its own."""

    def finalize(self) -> None:
        self._finalized = True

    def translation(self) -> Any:
        """The function by itself, to be linked into an entry point."""
        return self._final_module.clone()


class _Whole(JITCodeLibrary):
    """An entry point with all that it leads to."""

    def finalize(self) -> None:
        parts, others = _called_by(self)
        exported = {function.name for function in self._final_module.functions if not function.is_declaration}
        for part in parts:
            self._final_module.link_in(part.translation())
        for function in self._final_module.functions:
            if not function.is_declaration and function.name not in exported:
                function.linkage = "internal"
        for other in others:
            self._final_module.link_in(other._get_module_for_linking(), preserve=True)
        self._optimize_final_module()
        self._final_module.verify()
        self._finalize_final_module()


def _called_by(entry: _Whole) -> tuple[list[_Part], list[CPUCodeLibrary]]:
    """Every part that an entry point leads to, and what Numba brings along for its own functions."""
    found: dict[CPUCodeLibrary, None] = {}
    to_do: list[CPUCodeLibrary] = [entry]
    while to_do:
        for each in to_do.pop()._linking_libraries:
            if each not in found:
                found[each] = None
                if isinstance(each, _Part):
                    to_do.append(each)
    return [each for each in found if isinstance(each, _Part)], [each for each in found if not isinstance(each, _Part)]


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _library(_Part, state)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered, target = state["cr"], state.targetctx
        # Callers are told of it by an object which Python could call, and never does: there is no code behind it.
        name, module = lowered.fndesc.qualname, lowered.fndesc.lookup_module()
        function = make_function(module, name, name, 0, lowered.env, (state.library,))
        target.insert_user_function(function, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=function)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _WholeLowering(NativeLowering):
    _name = "whole_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _library(_Whole, state)
        return bool(super().run_pass(state))


def _library(kind: type[JITCodeLibrary], state: Any) -> JITCodeLibrary:
    library = kind(state.targetctx.codegen(), state.func_id.func_qualname)
    library.enable_object_caching()
    return library


class PartCompiler(CompilerBase):
    """For functions that only compiled code calls."""

    def define_pipelines(self) -> list[Any]:
        """What Numba asks a compiler for."""
        return [_pipeline(self.state, _PartLowering)]


class WholeCompiler(CompilerBase):
    """For functions that Python calls."""

    def define_pipelines(self) -> list[Any]:
        """What Numba asks a compiler for."""
        return [_pipeline(self.state, _WholeLowering)]


def _pipeline(state: Any, lowering: type[Any]) -> Any:
    usual = DefaultPassBuilder.define_nopython_pipeline(state)
    ours = PassManager("dure")
    for each, description in usual.passes:
        if each not in _NOT_NEEDED:
            ours.add_pass(lowering if each is NativeLowering else each, description)
    ours.finalize()
    return ours
