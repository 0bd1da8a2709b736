"""Products whose sums stay in vector registers, for what BLAS is wrong for.

``small_product`` is for layers so small that a BLAS call (which packs its operands) would dominate.
``weighted_rows`` is for inputs given by their non-zeros. Both are emitted as LLVM vectors, because LLVM does
not keep an array of sums in registers by itself. Terms are added in order, whatever the shapes.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_FAST = ("contract",)  # multiply and add may fuse; nothing may be reordered
_VECTOR_BYTES = 32  # one AVX register; LLVM splits it for narrower machines


def _int(value):
    return ir.Constant(_I64, value)


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


@intrinsic
def small_product(typingctx, zero, m, n, k, a, a_row, a_column, b, ldb, start, start_row, out, ldo):
    """Compute ``out[i, j] = start[i, j] + sum_p a[i, p] * b[p, j]`` for an (m, k) and a (k, n) matrix.

    ``zero`` gives the element type, the rest are integers. ``a[i, p]`` stands at ``a_row * i + a_column * p``
    elements, so that a transposed ``a`` costs nothing; rows of ``b`` are ``ldb`` apart, of ``start``
    ``start_row`` (0 for one row, such as a bias, for all), of ``out`` ``ldo``. ``out`` may be ``start``.
    """
    real = zero
    lanes = _VECTOR_BYTES * 8 // real.bitwidth

    def codegen(context, builder, signature, args):
        names = "m n k a a_row a_column b ldb start start_row out ldo".split()
        arg = dict(zip(names, args[1:], strict=True))
        _SmallProduct(builder, context.get_value_type(real), lanes, arg).emit()
        return context.get_dummy_value()

    return types.void(real, *[types.int64] * 12), codegen


class _Registers:
    """What both emitters share: vectors of one element type at computed addresses."""

    def __init__(self, builder, element, lanes, arg):
        self.builder, self.element, self.lanes, self.arg = builder, element, lanes, arg
        self.vector = ir.VectorType(element, lanes)
        self.itemsize = _VECTOR_BYTES // lanes

    def _sums(self, addresses):
        """Return registers that hold the vectors at ``addresses``, each a (pointer, mask)."""
        sums = []
        for at, mask in addresses:
            slot = cgutils.alloca_once(self.builder, self.vector)
            self.builder.store(self._load(at, mask), slot)
            sums.append(slot)
        return sums

    def _add(self, slot, weight, value):
        """Add ``weight * value`` to a register."""
        term = self.builder.fmul(weight, value, flags=_FAST)
        self.builder.store(self.builder.fadd(self.builder.load(slot), term, flags=_FAST), slot)

    def _element(self, base, offset):
        """Load one element into all lanes."""
        return self._broadcast(self.builder.load(self._at(base, offset, self.element)))

    def _moved(self, base, elements):
        """Return the address ``elements`` past the address ``base``."""
        return self.builder.add(base, self.builder.mul(elements, _int(self.itemsize)))

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


class _WeightedRows(_Registers):
    """Emit ``weighted_rows``: blocks of 8 vectors, then one block for the 1 to 8 vectors that remain.

    The last vector of the rest ends at ``n`` and overlaps its neighbour instead of being masked: the same
    sums are formed twice and stored twice, which costs less than a masked chain of its own.
    """

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

    def _block(self, offsets, mask=None):
        """Sum one block of columns: every start is read before anything is written."""
        builder, arg = self.builder, self.arg
        sums = self._sums([(at, mask) for at in self._vectors(arg["start"], offsets)])
        with cgutils.for_range(builder, arg["count"]) as loop:
            row = builder.sext(builder.load(self._at(arg["index"], loop.index, _I32)), _I64)
            weight = self._element(arg["value"], builder.mul(loop.index, arg["step"]))
            table = self._moved(arg["table"], builder.mul(row, arg["ld"]))
            for slot, source in zip(sums, self._vectors(table, offsets), strict=True):
                self._add(slot, weight, self._load(source, mask))
        for slot, target in zip(sums, self._vectors(arg["out"], offsets), strict=True):
            self._store(builder.load(slot), target, mask)


class _SmallProduct(_Registers):
    """Emit ``small_product``: blocks of 4 rows by 2 vectors, the last vector masked where it is partial."""

    def emit(self):
        builder, n, lanes = self.builder, self.arg["n"], self.lanes
        blocks = builder.sdiv(n, _int(2 * lanes))
        with cgutils.for_range(builder, blocks) as loop:
            at = builder.mul(loop.index, _int(2 * lanes))
            self._columns([(at, None), (builder.add(at, _int(lanes)), None)])
        at = builder.mul(blocks, _int(2 * lanes))
        left = builder.sub(n, at)
        wide = builder.icmp_signed(">", left, _int(lanes))
        with builder.if_then(wide):
            second = builder.add(at, _int(lanes))
            self._columns([(at, None), (second, self._mask(builder.sub(left, _int(lanes))))])
        narrow = builder.and_(builder.not_(wide), builder.icmp_signed(">", left, _int(0)))
        with builder.if_then(narrow):
            self._columns([(at, self._mask(left))])

    def _columns(self, columns):
        """Form some columns, given as (offset, mask), of every row."""
        builder, m = self.builder, self.arg["m"]
        fours = builder.sdiv(m, _int(4))
        with cgutils.for_range(builder, fours) as loop:
            self._block(builder.mul(loop.index, _int(4)), 4, columns)
        first = builder.mul(fours, _int(4))
        with cgutils.for_range(builder, builder.sub(m, first)) as loop:
            self._block(builder.add(first, loop.index), 1, columns)

    def _block(self, first, n_rows, columns):
        builder, arg = self.builder, self.arg
        rows = [builder.add(first, _int(i)) for i in range(n_rows)]
        offsets, masks = [at for at, _ in columns], [mask for _, mask in columns]

        def cells(base, stride):
            """Return a (pointer, mask) for each vector of each row."""
            found = []
            for row in rows:
                line = self._moved(arg[base], builder.mul(row, arg[stride]))
                found += zip(self._vectors(line, offsets), masks, strict=True)
            return found

        sums = self._sums(cells("start", "start_row"))
        lines = [self._moved(arg["a"], builder.mul(row, arg["a_row"])) for row in rows]
        with cgutils.for_range(builder, arg["k"]) as loop:
            p = loop.index
            line = self._moved(arg["b"], builder.mul(p, arg["ldb"]))
            values = [
                self._load(at, mask) for at, mask in zip(self._vectors(line, offsets), masks, strict=True)
            ]
            for i, a in enumerate(lines):
                weight = self._element(a, builder.mul(p, arg["a_column"]))
                for j, value in enumerate(values):
                    self._add(sums[i * len(values) + j], weight, value)
        for slot, (target, mask) in zip(sums, cells("out", "ldo"), strict=True):
            self._store(builder.load(slot), target, mask)
