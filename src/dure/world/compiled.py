"""The one place that knows how the kernel is compiled.

Every compiled function of Dure carries `@compiled`. With `NUMBA_DISABLE_JIT=1` the same functions run as plain Python,
which is how tests hold the compiled kernel against the interpreted one.

`_nrt=False` takes reference counting out of generated code: measured, it is three quarters of the time of a kernel that
passes many arrays between functions. It also turns any allocation inside the kernel into a compile error, which is what
we want. The option is private to Numba, so Numba's minor version is pinned and a test watches over this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False, "error_model": "numpy"}

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of integers and integer arrays; cached on disk between runs."""
    dispatcher: Function = numba.njit(**_OPTIONS)(function)
    return dispatcher


def is_compiling() -> bool:
    """False when the kernel runs as plain Python."""
    return not getattr(numba.config, "DISABLE_JIT", 0)
