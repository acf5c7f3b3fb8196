"""What every CUDA body needs beyond plain Numba: 16-byte loads and stores, and formulas shared with the CPU kernels.

Numba never joins four float32 accesses into one (its float32x4 included), so `ld4` and `st4` are written in LLVM's own
terms; in the simulator, which has no LLVM, they are four plain accesses.
"""

from numba import cuda

from fastgan.kernels import formulas
from fastgan.kernels.compiling import rebound
from fastgan.kernels.cuda.launching import SIMULATED

if SIMULATED:
    from numba.cuda.simulator import kernel as _simulated

    def ld4(p, i):
        """Elements 4i to 4i + 3 of a float32 pointer or shared array, as a tuple; the array starts on 16 bytes."""
        return p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]

    def st4(p, i, a, b, c, d):
        """Write a, b, c, d to elements 4i to 4i + 3 of a float32 pointer or shared array."""
        p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3] = a, b, c, d

    def quotient(a, b):
        """a // b of non-negative int32 numbers."""
        return a // b

    def shifted(p, k):
        """The pointer to element k of a float32 pointer."""
        return p[k:]

    class _Running:
        """`cuda` in a function that a body calls: the simulator takes its place in the body's module only."""

        def __getattr__(self, name):
            return getattr(_simulated._kernel_context, name)

    def inlined(formula):
        """A plain function (a formula of a CPU family, say) as one that a CUDA body may call."""
        return rebound(formula, cuda=_Running())

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    _FOUR = ir.VectorType(ir.FloatType(), 4)

    def _place(context, builder, signature, p, i):
        """The address of the i-th group of four; `building` starts shared arrays on 16 bytes."""
        if isinstance(signature.args[0], types.Array):
            p = context.make_array(signature.args[0])(context, builder, p).data
        p = builder.bitcast(p, _FOUR.as_pointer(getattr(p.type, "addrspace", 0)))
        return builder.gep(p, [context.cast(builder, i, signature.args[1], types.int64)])

    @intrinsic
    def ld4(typing, p, i):
        """Elements 4i to 4i + 3 of a float32 pointer or shared array, as a tuple; the array starts on 16 bytes."""
        signature = types.UniTuple(types.float32, 4)(p, i)

        def generate(context, builder, signature, values):
            four = builder.load(_place(context, builder, signature, *values), align=16)
            each = [builder.extract_element(four, ir.Constant(ir.IntType(32), k)) for k in range(4)]
            return context.make_tuple(builder, signature.return_type, each)

        return signature, generate

    @intrinsic
    def st4(typing, p, i, a, b, c, d):
        """Write a, b, c, d to elements 4i to 4i + 3 of a float32 pointer or shared array."""
        signature = types.void(p, i, *[types.float32] * 4)

        def generate(context, builder, signature, values):
            four = ir.Constant(_FOUR, ir.Undefined)
            for k in range(4):
                four = builder.insert_element(four, values[2 + k], ir.Constant(ir.IntType(32), k))
            builder.store(four, _place(context, builder, signature, *values[:2]), align=16)
            return context.get_dummy_value()

        return signature, generate

    @intrinsic
    def quotient(typing, a, b):
        """a // b of non-negative int32 numbers."""
        signature = types.int32(types.int32, types.int32)  # Numba's own division is a 64-bit subroutine

        def generate(context, builder, signature, values):
            return builder.udiv(*values)

        return signature, generate

    @intrinsic
    def shifted(typing, p, k):
        """The pointer to element k of a float32 pointer."""
        signature = p(p, k)

        def generate(context, builder, signature, values):
            return builder.gep(values[0], [context.cast(builder, values[1], signature.args[1], types.int64)])

        return signature, generate

    def inlined(formula):
        """A plain function (a formula of a CPU family, say) as one that a CUDA body may call."""
        # LLVM inlines: Numba's own inlining copies at every nesting level, 25 times as slow for a product
        return cuda.jit(device=True, forceinline=True)(formula)


scalars = formulas.scalars(inlined)  # `m` of a formula in a body
