"""Ask for memory before it is needed, in compiled loops."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

LINE_BYTES = 64
"""A line of a CPU's caches."""

_READ, _KEEP_IN_ALL_CACHES, _DATA = 0, 3, 1
"""Arguments of LLVM's `llvm.prefetch`."""


def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """The cache line of `array[index]` will be read soon. An index beyond either end is harmless.

    A CPU follows a stream of addresses by itself, but only to the end of a page. A loop that computes enough between two
    lines gains a fifth when it asks for the next row of a volume in time. It changes no result.
    """
    if not (isinstance(array, types.Array) and array.ndim == 1 and isinstance(index, types.Integer)):
        raise TypeError("prefetch expects an array of one axis and an integer")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(made.data, [arguments[1]]), byte)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        )
        builder.call(function, [address, word(_READ), word(_KEEP_IN_ALL_CACHES), word(_DATA)])
        return context.get_dummy_value()

    return types.void(array, index), generate


prefetch: Any = intrinsic(_prefetch)
"""`prefetch(array, index)`, of an array of one axis, within compiled code."""
