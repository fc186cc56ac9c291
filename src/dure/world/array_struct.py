"""Many arrays behind one pointer, for compiled functions that pass them on.

A tuple of arrays is copied at each call of a compiled function, seven words for every array. With thirty arrays that
was much of the time of small functions, and most of the compiler's time. Of an `ArrayStruct`, compiled code gets the
address of a table instead, where each array has its own address and shape. The table never changes, and the compiler
is told so: what it has read there once it may keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import NativeValue, infer_getattr, models, register_model, typeof_impl, unbox
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import from_dtype

from dure.world.compiled import is_compiling

_WORDS = 3
"""Of the table, per array: its address, and up to two dimensions."""


@dataclass(frozen=True, eq=False)
class ArrayStruct:
    """Base of a frozen dataclass whose fields are contiguous arrays of one or two dimensions."""

    def __post_init__(self) -> None:
        """Write the table; dataclasses call this at the end of their construction."""
        arrays = {each.name: getattr(self, each.name) for each in fields(self)}
        table = np.zeros((len(arrays), _WORDS), dtype=np.int64)
        for words, array in zip(table, arrays.values(), strict=True):
            assert array.flags.c_contiguous, "compiled code counts on it"
            words[0] = array.ctypes.data
            words[1 : 1 + array.ndim] = array.shape
        # The dataclass is frozen, and these are no fields of it.
        vars(self)["_table"] = table
        vars(self)["_address"] = table.ctypes.data
        if is_compiling():
            vars(self)["_compiled_type"] = ArrayStructType(type(self).__name__, arrays)

    def replace(self, **arrays: Any) -> Self:
        """The same but for some arrays."""
        return replace(self, **arrays)

    def __iter__(self) -> Iterator[Any]:
        """The arrays, in the order of the fields."""
        return (getattr(self, each.name) for each in fields(self))


class ArrayStructType(types.Type):
    """What the compiler knows of an `ArrayStruct`: the type of each array, and where it stands in the table."""

    def __init__(self, name: str, arrays: dict[str, Any]) -> None:
        self.arrays = {
            field: types.Array(from_dtype(np.dtype(array.dtype)), array.ndim, "C", aligned=True)
            for field, array in arrays.items()
        }
        self._hash: int | None = None
        self.first_word = {field: number * _WORDS for number, field in enumerate(arrays)}
        super().__init__(name)

    def __hash__(self) -> int:
        """Asked for at every call from Python, and long to find: it goes through the fields of every array."""
        if self._hash is None:
            self._hash = hash(self.key)
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        """What goes into the compiler's cache: not the hash, which is another one in every process."""
        return vars(self) | {"_hash": None}

    @property
    def key(self) -> Any:
        """By what Numba tells types apart."""
        return self.name, tuple(self.arrays.items())


@typeof_impl.register(ArrayStruct)
def _typeof(value: Any, _context: Any) -> Any:
    return value._compiled_type


@register_model(ArrayStructType)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, struct: Any) -> None:
        super().__init__(manager, struct, ir.IntType(64).as_pointer())


@infer_getattr
class _Arrays(AttributeTemplate):
    key = ArrayStructType

    def generic_resolve(self, struct: Any, name: str) -> Any:  # type: ignore[override]
        return struct.arrays.get(name)


@lower_getattr_generic(ArrayStructType)
def _read_array(context: Any, builder: Any, struct: Any, table: Any, name: str) -> Any:
    """Put an array together from its words in the table; the optimizer leaves out what is not needed."""
    array_type, first = struct.arrays[name], struct.first_word[name]
    array = make_array(array_type)(context, builder)
    address, *shape = (_word(builder, table, first + number) for number in range(1 + array_type.ndim))
    item_bytes = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
    strides = [context.get_constant(types.intp, item_bytes)]
    for size in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], size, flags=("nsw",)))
    data = builder.inttoptr(address, array.data.type)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=item_bytes, meminfo=None)
    return array._getvalue()


def _word(builder: Any, table: Any, number: int) -> Any:
    word = builder.load(builder.gep(table, [ir.IntType(32)(number)]))
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word


@unbox(ArrayStructType)
def _unbox(_struct: Any, value: Any, context: Any) -> Any:
    number = context.pyapi.object_getattr_string(value, "_address")
    address = context.pyapi.long_as_longlong(number)
    context.pyapi.decref(number)
    return NativeValue(context.builder.inttoptr(address, ir.IntType(64).as_pointer()))
