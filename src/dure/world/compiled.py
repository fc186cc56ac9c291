"""The one place that knows how the kernel is compiled.

Every compiled function of Dure carries `@compiled`, or `@entry_point` if Python calls it too. With
`NUMBA_DISABLE_JIT=1` the same functions run as plain Python, which is how tests hold the compiled kernel against the
interpreted one.

A part of the kernel is translated once in a process; an entry point is made machine code with all its parts and kept
in a cache (see `dure.world.linking`).

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

_OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "no_cfunc_wrapper": True}

_njit: Any = numba.njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of integers, arrays and `ArrayStruct`s that only other compiled functions call."""
    return cast(Function, _part(function))


def entry_point(function: Function) -> Function:
    """Compile a function that Python calls as well."""
    return _whole(function)


def background_entry_point(function: Function) -> Function:
    """Compile a function that Python calls and that may run for long: other threads go on meanwhile.

    Whoever calls it sees to it that nobody else touches its arrays.
    """
    return _whole(function, nogil=True)


def _part(function: Function) -> Any:
    dispatcher: Any = _njit(**_OPTIONS, no_cpython_wrapper=True, pipeline_class=PartCompiler)(function)
    if is_compiling():
        _take_constants_as_integers(dispatcher)
    return dispatcher


def _whole(function: Function, **options: bool) -> Function:
    dispatcher: Any = _njit(**_OPTIONS, cache=True, pipeline_class=WholeCompiler, **options)(function)
    if is_compiling():
        # For compiled callers it is a part like any other, so that only what Python calls is made into a whole.
        part = _part(function)
        dispatcher.get_call_template, dispatcher.get_overload = part.get_call_template, part.get_overload
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
