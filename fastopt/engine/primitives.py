"""The three machine-level operations that the training passes are made of.

``gemm`` calls SciPy's BLAS by address. ``weighted_rows`` is the product for everything that BLAS is wrong
for: layers so small that the call would dominate, and inputs that are mostly zeros. ``fetch_add`` hands
out work to threads. Each is an intrinsic, because plain Numba can express none of them: not a foreign
call that stays disk-cacheable, not a sum held in vector registers, not an atomic.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

_I64, _I32, _I8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_FAST = ("contract",)  # multiply and add may fuse; nothing may be reordered
_VECTOR_BYTES = 32  # one AVX register; LLVM splits it for narrower machines


@cache
def gemm_address(itemsize):
    """Return the address of BLAS ``sgemm`` (itemsize 4) or ``dgemm`` (8) in SciPy's own library."""
    return get_cython_function_address("scipy.linalg.cython_blas", {4: "sgemm", 8: "dgemm"}[itemsize])


@intrinsic
def gemm(typingctx, address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """Compute ``C = op(A) @ op(B) + beta * C`` for row-major matrices given by integer addresses.

    ``op(A)`` is (m, k), ``op(B)`` is (k, n), ``C`` is (m, n); a leading dimension counts the elements from
    one row to the next. ``beta``'s type is the element type.
    """
    real = beta

    def codegen(context, builder, signature, args):
        address, ta, tb, *rest = args
        _, ta_type, tb_type, *rest_types = signature.args
        m, n, k, a, lda, b, ldb, beta, c, ldc = rest

        def by_reference(value):
            slot = cgutils.alloca_once(builder, value.type)
            builder.store(value, slot)
            return slot

        def integer(value, numba_type):
            return by_reference(context.cast(builder, value, numba_type, types.int32))

        def letter(value, numba_type):
            flag = context.cast(builder, value, numba_type, types.boolean)
            return by_reference(builder.select(flag, ir.Constant(_I8, ord("t")), ir.Constant(_I8, ord("n"))))

        one = by_reference(ir.Constant(context.get_value_type(real), 1.0))
        t = dict(zip("m n k a lda b ldb beta c ldc".split(), rest_types, strict=True))
        # BLAS is column-major: a row-major C = A B is its C' = B' A'.
        values = [
            letter(tb, tb_type), letter(ta, ta_type),
            integer(n, t["n"]), integer(m, t["m"]), integer(k, t["k"]),
            one, context.cast(builder, b, t["b"], types.int64), integer(ldb, t["ldb"]),
            context.cast(builder, a, t["a"], types.int64), integer(lda, t["lda"]),
            by_reference(beta), context.cast(builder, c, t["c"], types.int64), integer(ldc, t["ldc"]),
        ]  # fmt: skip
        kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
        builder.call(builder.inttoptr(address, kind.as_pointer()), values)
        return context.get_dummy_value()

    signature = types.void(types.int64, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, beta, c, ldc)
    return signature, codegen


@intrinsic
def fetch_add(typingctx, address):
    """Add one to the int64 at ``address`` atomically and return what stood there."""

    def codegen(context, builder, signature, args):
        at = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", at, ir.Constant(_I64, 1), "monotonic")

    return types.int64(types.int64), codegen


@intrinsic
def weighted_rows(typingctx, zero, out, start, n, table, ld, index, value, step, count):
    """Compute ``out[j] = start[j] + sum_p value[p * step] * table[index[p] * ld + j]`` for ``j < n``.

    The sums stay in vector registers over the whole of ``p``: per term one load and one fused
    multiply-add per vector, which is what the hardware can do. ``zero`` gives the element type, the rest
    are integers: addresses of ``out``, ``start``, ``table``, ``value`` (elements) and ``index`` (int32).
    The terms are added in the order of ``p``. ``out`` may be ``start``.
    """
    real = zero
    lanes = _VECTOR_BYTES * 8 // real.bitwidth

    def codegen(context, builder, signature, args):
        names = "out start n table ld index value step count".split()
        arg = dict(zip(names, args[1:], strict=True))
        element = context.get_value_type(real)
        _WeightedRows(builder, element, lanes, arg).emit()
        return context.get_dummy_value()

    return types.void(real, *[types.int64] * 9), codegen


class _WeightedRows:
    """Emit ``weighted_rows``: blocks of 8 vectors, then one block for the 1 to 8 vectors that remain.

    The last vector of the rest ends at ``n`` and overlaps its neighbour instead of being masked: the same
    sums are formed twice and stored twice, which costs less than a masked chain of its own.
    """

    def __init__(self, builder, element, lanes, arg):
        self.builder, self.element, self.lanes, self.arg = builder, element, lanes, arg
        self.vector = ir.VectorType(element, lanes)
        self.itemsize = _VECTOR_BYTES // lanes

    def emit(self):
        builder, n = self.builder, self.arg["n"]
        one, lanes = ir.Constant(_I64, 1), ir.Constant(_I64, self.lanes)
        widest = ir.Constant(_I64, 8 * self.lanes)
        with builder.if_then(builder.icmp_signed(">", n, ir.Constant(_I64, 0))):
            blocks = builder.sdiv(builder.sub(n, one), widest)  # leaves 1 to 8 vectors
            with cgutils.for_range(builder, blocks) as loop:
                at = builder.mul(loop.index, widest)
                self._block([builder.add(at, ir.Constant(_I64, i * self.lanes)) for i in range(8)])
            at = builder.mul(blocks, widest)
            left = builder.sub(n, at)
            count = builder.sdiv(builder.add(left, builder.sub(lanes, one)), lanes)
            # A lone last vector has no neighbour in its block: overlapping would add twice where
            # ``out`` is ``start``, so it alone is masked.
            done = builder.append_basic_block("rows.done")
            switch = builder.switch(count, done)
            for vectors in range(1, 9):
                block = builder.append_basic_block(f"rows.{vectors}")
                switch.add_case(ir.Constant(_I64, vectors), block)
                with builder.goto_block(block):
                    if vectors == 1:
                        self._block([at], mask=self._mask(left))
                    else:
                        inner = [
                            builder.add(at, ir.Constant(_I64, i * self.lanes)) for i in range(vectors - 1)
                        ]
                        self._block([*inner, builder.sub(n, lanes)])
                    builder.branch(done)
            builder.position_at_end(done)

    def _mask(self, rest):
        """Return the lanes below ``rest``, as a vector of booleans."""
        lane = ir.Constant(ir.VectorType(_I32, self.lanes), list(range(self.lanes)))
        limit = self._broadcast(self.builder.trunc(rest, _I32))
        return self.builder.icmp_signed("<", lane, limit)

    def _broadcast(self, scalar):
        builder = self.builder
        one = builder.insert_element(
            ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined), scalar, ir.Constant(_I32, 0)
        )
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return builder.shuffle_vector(one, one, zeros)

    def _at(self, base, offset, kind):
        """Return a pointer to the element ``offset`` of the array whose address is ``base``."""
        elements = self.builder.inttoptr(base, kind.as_pointer())
        return self.builder.gep(elements, [offset])

    def _vectors(self, base, offsets):
        """Return pointers to the vectors that begin at the elements ``offsets``."""
        vector = self.vector.as_pointer()
        return [self.builder.bitcast(self._at(base, offset, self.element), vector) for offset in offsets]

    def _load(self, at, mask):
        builder = self.builder
        if mask is None:
            return builder.load(at, align=self.itemsize)
        kind = ir.FunctionType(self.vector, [at.type, _I32, mask.type, self.vector])
        masked = self._masked("load", kind)
        rest = ir.Constant(self.vector, [0.0] * self.lanes)
        return builder.call(masked, [at, ir.Constant(_I32, self.itemsize), mask, rest])

    def _store(self, value, at, mask):
        builder = self.builder
        if mask is None:
            builder.store(value, at, align=self.itemsize)
            return
        kind = ir.FunctionType(ir.VoidType(), [self.vector, at.type, _I32, mask.type])
        builder.call(self._masked("store", kind), [value, at, ir.Constant(_I32, self.itemsize), mask])

    def _masked(self, verb, kind):
        short = {4: "f32", 8: "f64"}[self.itemsize]
        name = f"llvm.masked.{verb}.v{self.lanes}{short}.p0"
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def _block(self, offsets, mask=None):
        """Sum one block of columns: every start is read before anything is written."""
        builder, arg = self.builder, self.arg
        sums = [cgutils.alloca_once(builder, self.vector) for _ in offsets]
        for slot, source in zip(sums, self._vectors(arg["start"], offsets), strict=True):
            builder.store(self._load(source, mask), slot)
        with cgutils.for_range(builder, arg["count"]) as loop:
            p = loop.index
            row = builder.sext(builder.load(self._at(arg["index"], p, _I32)), _I64)
            weight = builder.load(self._at(arg["value"], builder.mul(p, arg["step"]), self.element))
            weight = self._broadcast(weight)
            table = builder.ptrtoint(self._at(arg["table"], builder.mul(row, arg["ld"]), self.element), _I64)
            for slot, source in zip(sums, self._vectors(table, offsets), strict=True):
                term = builder.fmul(weight, self._load(source, mask), flags=_FAST)
                builder.store(builder.fadd(builder.load(slot), term, flags=_FAST), slot)
        for slot, target in zip(sums, self._vectors(arg["out"], offsets), strict=True):
            self._store(builder.load(slot), target, mask)
