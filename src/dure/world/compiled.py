"""The one place that knows how the kernel is compiled.

Every compiled function of Dure carries `@compiled`, or `@entry_point` if Python calls it too. With
`NUMBA_DISABLE_JIT=1` the same functions run as plain Python, which is how tests hold the compiled kernel against the
interpreted one.

`_nrt=False` takes reference counting out of generated code: measured, it is three quarters of the time of a kernel that
passes many arrays between functions. It also turns any allocation inside the kernel into a compile error, which is what
we want. The option is private to Numba, so Numba's minor version is pinned and a test watches over this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types

from dure.world.linking import PartCompiler, WholeCompiler

_OPTIONS: dict[str, Any] = {
    "cache": True,
    "_nrt": False,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
    "pipeline_class": WholeCompiler,
}

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of integers and integer arrays that only other compiled functions call.

    It gets no wrapper for calls from Python. For a function that takes the world's many arrays, the wrapper takes more
    compile time than the function.
    """
    return _compile(function, no_cpython_wrapper=True, cache=False, pipeline_class=PartCompiler)


def entry_point(function: Function) -> Function:
    """Compile a function that Python calls as well."""
    return _compile(function, no_cpython_wrapper=False)


def background_entry_point(function: Function) -> Function:
    """Compile a function that Python calls and that may run for long: other threads go on meanwhile.

    Whoever calls it sees to it that nobody else touches its arrays.
    """
    return _compile(function, no_cpython_wrapper=False, nogil=True)


def _compile(function: Function, **options: Any) -> Function:
    dispatcher: Any = numba.njit(**(_OPTIONS | options))(function)
    if is_compiling():
        _take_constants_as_integers(dispatcher)
    return cast(Function, dispatcher)


def _take_constants_as_integers(dispatcher: Any) -> None:
    """Compile a function once, and not again for every constant that some caller passes.

    Numba types a constant argument by its value, and would otherwise compile one version for each: a third of all.
    """
    resolve = dispatcher.get_call_template
    unliteral: Callable[[Any], Any] = types.unliteral

    def resolve_plain(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        plain = tuple(unliteral(each) for each in args)
        return resolve(plain, {name: unliteral(each) for name, each in kws.items()})

    dispatcher.get_call_template = resolve_plain


def is_compiling() -> bool:
    """False when the kernel runs as plain Python."""
    return not getattr(numba.config, "DISABLE_JIT", 0)
