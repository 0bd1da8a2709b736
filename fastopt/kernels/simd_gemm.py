"""SIMD matrix products with sums in vector registers, and transposition.

LLVM does not keep an array of sums in registers by itself, so these are emitted as LLVM vectors. They beat a
BLAS call, which packs its operands whatever their size (``bench/README.md``). The terms of a sum are added in
order, whatever the shapes, so the bits depend neither on the width of the vectors nor on how rows and columns
are cut.

Arguments are integers: addresses, and strides that count elements. ``zero`` gives the element type. The right
matrix is read up to a vector past the end of its rows, also of the last one.
"""

from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastopt.kernels.intrinsics import emit_prefetch
from fastopt.kernels.simd_vectors import I32, I64, Registers, integer, vector_bytes

_FAST = ("contract",)  # multiply and add may fuse; nothing may be reordered

#: Terms that are added before a product goes on to the next columns: what is read of the right matrix then
#: stays in the L1 cache from one block of rows to the next.
TERMS = 128
#: Bytes between the rows of a right matrix from which the columns at hand are first copied: so far apart they
#: share few of the sets of the L1 cache. It pays for at least so many rows of the left matrix, by the bytes
#: of a vector: the L2 cache keeps up with wide panels, which take long to multiply.
_FAR_APART, _ROWS_TO_COPY = 1024, {64: 96, 32: 24}
#: Vectors across a panel, and the rows of its blocks: as many sums as the registers hold beside the operands,
#: or as it takes to keep the multipliers busy; then those of blocks for the rows that are left.
_TILES_64 = {4: (6, 2), 3: (8, 4), 2: (8, 4), 1: (8,)}
_TILES_32 = {3: (4,), 2: (6, 2), 1: (8,)}
#: Bytes of the copy: `TERMS` rows of the widest panel.
COPY_BYTES = TERMS * max(_TILES_64) * 64


def _define(panels_64, panels_32, index_a, index_b, ahead=0):
    """Define the intrinsic of one kind of product from the panels for vectors of 64 and of 32 bytes.

    ``ahead`` is the number of terms after which a row of ``b`` is used that is prefetched now, or 0.
    """

    @intrinsic
    def product(
        typingctx, zero, m, n, k, a, a_row, a_column, b, ldb, index, start, start_row, out, ldo, rectify
    ):
        real = zero

        def codegen(context, builder, signature, args):
            names = "m n k a a_row a_column b ldb index start start_row out ldo rectify".split()
            arg = dict(zip(names, args[1:], strict=True))
            panels = panels_64 if vector_bytes() == 64 else panels_32
            _Product(builder, context.get_value_type(real), arg, panels, index_a, index_b, ahead).emit()
            return context.get_dummy_value()

        return types.void(real, *[types.int64] * 14), codegen

    return product


#: ``out[i, j] = start[i, j] + sum_p a[i, p] * b[p, j]`` for an (m, k) and a (k, n) matrix, or 0 where that is
#: negative and ``rectify`` is 1. ``a[i, p]`` stands at ``a_row * i + a_column * p``, so that a transposed
#: ``a`` costs nothing; rows of ``b`` are ``ldb`` apart, of ``start`` ``start_row`` (0 for one row, such as a
#: bias, for all), of ``out`` ``ldo``. ``out`` may be ``start``. ``index`` is the address of `COPY_BYTES` for
#: a copy of columns of ``b``, or 0 for none.
dense_product = _define(_TILES_64, _TILES_32, False, False)

#: The same over the terms that ``index`` (int32, ``k`` of them) lists: ``a[i, index[p]] * b[index[p], j]``,
#: for up to four rows.
chosen_product = _define(dict.fromkeys((4, 3, 2, 1), (4,)), dict.fromkeys((3, 2, 1), (4,)), True, True)

#: The same where ``b`` is larger than the L1 cache: no processor foresees which of its rows are listed.
far_chosen_product = _define(*[dict.fromkeys((3, 2, 1), (4,))] * 2, True, True, ahead=6)

#: ``a[i, p] * b[index[p], j]`` for one row: the values are listed beside their indices.
listed_product = _define(*[dict.fromkeys((8, 4, 2, 1), (1,))] * 2, False, True)


@intrinsic
def vectors_are_wide(typingctx):
    """Return whether vectors have 64 bytes, not 32."""
    return types.boolean(), lambda *_: ir.Constant(ir.IntType(1), vector_bytes() == 64)


@intrinsic
def transpose(typingctx, zero, m, n, a, lda, out, ldo):
    """Write the transpose of the (m, n) matrix ``a`` to ``out``; rows are ``lda`` and ``ldo`` apart."""
    real = zero

    def codegen(context, builder, signature, args):
        arg = dict(zip("m n a lda out ldo".split(), args[1:], strict=True))
        _Transpose(builder, context.get_value_type(real), arg).emit()
        return context.get_dummy_value()

    return types.void(real, *[types.int64] * 6), codegen


@intrinsic
def nonzero_bits(typingctx, zero, a, n):
    """Return 64 bits that are set where the ``n`` <= 64 elements at ``a`` are not zero (NaN is not)."""
    real = zero

    def codegen(context, builder, signature, args):
        return _Bits(builder, context.get_value_type(real), {"a": args[1], "n": args[2]}).emit()

    return types.uint64(real, types.int64, types.int64), codegen


class _Panel(NamedTuple):
    """Some vectors across: the first column, their number, and the mask of the last one."""

    first: ir.Value
    width: int
    is_partial: ir.Value
    mask: ir.Value


class _Product(Registers):
    """Generates a product: panels of columns, each in blocks of rows; ``heights`` are these rows by width.

    Blocks of a panel's first height go as far as there are rows for them, those of its second over the rest.
    Past the end they repeat the last row, which needs no code.
    """

    def __init__(self, builder, element, arg, heights, index_a, index_b, ahead):
        super().__init__(builder, element, arg)
        self.heights, self.index_a, self.index_b, self.ahead = heights, index_a, index_b, ahead
        self.lowest = builder.select(
            builder.icmp_signed("!=", arg["rectify"], integer(0)), self._number(0.0), self._number("-inf")
        )
        for stride in "a_row", "ldb", "start_row", "ldo":
            arg[stride] = self._bytes(arg[stride])

    def _number(self, value):
        return ir.Constant(self.element, float(value))

    def emit(self):
        if self.index_b:
            self._all_columns()
            return
        # Sums of many terms are put down and taken up again.
        builder, whole, lowest = self.builder, dict(self.arg), self.lowest
        blocks = builder.sdiv(builder.add(whole["k"], integer(TERMS - 1)), integer(TERMS))
        blocks = self._maximum(blocks, integer(1))
        step = builder.sdiv(builder.add(whole["k"], builder.sub(blocks, integer(1))), blocks)
        with cgutils.for_range(builder, blocks) as loop:
            done = builder.mul(loop.index, step)
            is_first = builder.icmp_signed("==", loop.index, integer(0))
            is_last = builder.icmp_signed("==", loop.index, builder.sub(blocks, integer(1)))
            self.lowest = builder.select(is_last, lowest, self._number("-inf"))
            self.arg = whole | {
                "k": self._minimum(step, builder.sub(whole["k"], done)),
                "a": self._moved(whole["a"], builder.mul(done, whole["a_column"])),
                "b": builder.add(whole["b"], builder.mul(done, whole["ldb"])),
                "start": builder.select(is_first, whole["start"], whole["out"]),
                "start_row": builder.select(is_first, whole["start_row"], whole["ldo"]),
            }
            self._all_columns()

    def _maximum(self, x, y):
        return self.builder.select(self.builder.icmp_signed(">", x, y), x, y)

    def _all_columns(self):
        """Generate panels from the widest to the narrowest."""
        builder, n, lanes = self.builder, self.arg["n"], self.lanes
        vectors = builder.sdiv(builder.add(n, integer(lanes - 1)), integer(lanes))
        at = integer(0)
        for width in self.heights:
            count = builder.sdiv(vectors, integer(width))
            if width == max(self.heights) and width - 1 in self.heights:
                # So few that panels of one vector less take the rest, as narrower ones are slow: 6 as 3 + 3.
                others = builder.srem(builder.mul(vectors, integer(width - 1)), integer(width))
                rest = builder.sub(vectors, builder.mul(others, integer(width - 1)))
                count = self._maximum(builder.sdiv(rest, integer(width)), integer(0))
            step = integer(width * lanes)
            with cgutils.for_range(builder, count) as loop:
                first = builder.add(at, builder.mul(loop.index, step))
                rest = builder.sub(builder.sub(n, first), integer((width - 1) * lanes))
                is_partial = builder.icmp_signed("<", rest, integer(lanes))
                self._rows(_Panel(self._bytes(first), width, is_partial, self._mask(rest, lanes)))
            at = builder.add(at, builder.mul(count, step))
            vectors = builder.sub(vectors, builder.mul(count, integer(width)))

    def _rows(self, panel):
        """Generate one panel of all rows."""
        builder, m, heights = self.builder, self.arg["m"], self.heights[panel.width]
        right, last, at = self._right(panel), builder.sub(m, integer(1)), integer(0)
        for height in heights:
            is_final = height == heights[-1]
            rest = builder.sub(m, at)
            count = builder.sdiv(
                builder.add(rest, integer(height - 1)) if is_final else rest, integer(height)
            )
            with cgutils.for_range(builder, count) as loop:
                first = builder.add(at, builder.mul(loop.index, integer(height)))
                rows = [builder.add(first, integer(i)) for i in range(height)]
                self._block([self._minimum(row, last) for row in rows] if is_final else rows, panel, *right)
            at = builder.mul(count, integer(height))

    def _right(self, panel):
        """Return the address of a panel's first term, and the bytes to the next; copy it if that pays."""
        builder, arg = self.builder, self.arg
        line, ldb = builder.add(arg["b"], panel.first), arg["ldb"]
        if self.index_b:
            return line, ldb
        pays = builder.and_(
            builder.icmp_signed(">=", ldb, integer(_FAR_APART)),
            builder.icmp_signed(">=", arg["m"], integer(_ROWS_TO_COPY[vector_bytes()])),
        )
        pays = builder.and_(pays, builder.icmp_signed("!=", arg["index"], integer(0)))
        across = integer(panel.width * vector_bytes())

        def copy(p):
            values = self._values(builder.add(line, builder.mul(p, ldb)), panel.width)
            target = builder.add(arg["index"], builder.mul(p, across))
            for value, at in zip(values, self._places(target, panel.width), strict=True):
                self._store(value, at, self.lanes)

        self._loop(builder.select(pays, arg["k"], integer(0)), copy)
        return builder.select(pays, arg["index"], line), builder.select(pays, across, ldb)

    def _places(self, address, width):
        """Return pointers to neighbouring vectors."""
        first = self.builder.inttoptr(address, self._vector().as_pointer())
        return [first, *(self.builder.gep(first, [integer(j)]) for j in range(1, width))]

    def _values(self, address, width):
        return [self._load(at, self.lanes) for at in self._places(address, width)]

    def _lines(self, base, stride, rows, first):
        """Return the addresses of some rows of a matrix, ``first`` bytes after their start."""
        builder, base = self.builder, self.builder.add(self.arg[base], first)
        return [builder.add(base, builder.mul(row, self.arg[stride])) for row in rows]

    def _block(self, rows, panel, right, ldb):
        """Generate one panel of some rows; all start values are read before anything is written."""
        builder, arg, width, sums = self.builder, self.arg, panel.width, []
        for line in self._lines("start", "start_row", rows, panel.first):
            *whole, last = self._places(line, width)
            sums += [self._load(at, self.lanes) for at in whole]
            sums.append(self._load(last, self.lanes, panel.mask))
        elements = self.element.as_pointer()
        left = [builder.inttoptr(line, elements) for line in self._lines("a", "a_row", rows, integer(0))]

        def add_term(p, *sums):
            term = self._listed(p) if self.index_b else p
            values = self._values(builder.add(right, builder.mul(term, ldb)), width)
            if self.ahead and vector_bytes() == 64:  # narrower ones leave no time for it between their loads
                self._prefetch_term(p, right, ldb, width)
            a_offset = builder.mul(term if self.index_a else p, arg["a_column"])
            before = iter(sums)
            for a in left:
                weight = builder.load(builder.gep(a, [a_offset]))
                spread = self._broadcast(weight, self.lanes)
                yield from [self._fused(spread, value, next(before)) for value in values]

        self._put(self._loop(arg["k"], add_term, sums), rows, panel)

    def _loop(self, count, body, values=()):
        """Generate a loop that hands ``values`` on from turn to turn by ``body``; return them after it.

        LLVM must not unroll it: the loads of the next turn would need registers that hold sums.
        """
        builder, module, before = self.builder, self.builder.module, self.builder.block
        start, done = builder.append_basic_block("turn"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", count, integer(0)), start, done)
        builder.position_at_end(start)
        index, *current = [builder.phi(value.type) for value in (integer(0), *values)]
        later = list(body(index, *current) or ())
        following, end = builder.add(index, integer(1)), builder.block
        again = builder.cbranch(builder.icmp_signed("<", following, count), start, done)
        option = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        identity = module.add_metadata([option, integer(len(module.metadata))])
        identity.operands = (identity, option)  # a loop's metadata begins with itself
        again.set_metadata("llvm.loop", identity)
        builder.position_at_end(done)
        results = [builder.phi(value.type) for value in values]
        incoming = [(integer(0), following), *list(zip(values, later, strict=True)) * 2]
        for phi, (first, next_one) in zip([index, *current, *results], incoming, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(next_one, end)
        return results

    def _prefetch_term(self, p, right, ldb, width):
        """Generate the prefetch of a panel's part of a later term, at the end of the last one."""
        builder = self.builder
        later = self._minimum(builder.add(p, integer(self.ahead)), builder.sub(self.arg["k"], integer(1)))
        line = builder.add(right, builder.mul(self._listed(later), ldb))
        for j in range(width):
            emit_prefetch(builder, builder.add(line, integer(64 * j)))

    def _put(self, sums, rows, panel):
        """Generate writing the sums of a block, rectified."""
        builder, width = self.builder, panel.width
        lowest = self._broadcast(self.lowest, self.lanes)
        values = [builder.select(builder.fcmp_ordered("<", v, lowest), lowest, v) for v in sums]
        lasts = []
        for line in self._lines("out", "ldo", rows, panel.first):
            *whole, last = self._places(line, width)
            for at in whole:
                self._store(values.pop(0), at, self.lanes)
            lasts.append((values.pop(0), last, self.lanes))
        with builder.if_else(panel.is_partial) as (partial, whole):
            with partial:
                for last in lasts:
                    self._store(*last, panel.mask)
            with whole:
                for last in lasts:
                    self._store(*last)

    def _listed(self, p):
        indices = self.builder.inttoptr(self.arg["index"], I32.as_pointer())
        return self.builder.sext(self.builder.load(self.builder.gep(indices, [p])), I64)

    def _fused(self, x, y, z):
        """Return ``x * y + z``, rounded once where the processor can."""
        return self.builder.fadd(z, self.builder.fmul(x, y, flags=_FAST), flags=_FAST)


class _Transpose(Registers):
    """Generates a transposition: square blocks in registers, the edges element by element."""

    def emit(self):
        builder, arg, side = self.builder, self.arg, integer(self.lanes)
        down, across = builder.sdiv(arg["m"], side), builder.sdiv(arg["n"], side)
        # Blocks that share cache lines follow each other: far apart lines soon leave the L1 cache.
        together = integer(64 // vector_bytes())

        def grouped(count):
            return builder.sdiv(builder.add(count, builder.sub(together, integer(1))), together)

        def block_of(group, count):
            first = builder.mul(group.index, together)
            return first, self._minimum(builder.sub(count, first), together)

        with cgutils.for_range(builder, grouped(down)) as i, cgutils.for_range(builder, grouped(across)) as j:
            (row, n_rows), (column, n_columns) = block_of(i, down), block_of(j, across)
            with cgutils.for_range(builder, n_rows) as r, cgutils.for_range(builder, n_columns) as c:
                at = builder.add(row, r.index), builder.add(column, c.index)
                self._block(*(builder.mul(index, side) for index in at))
        last_row, last_column = builder.mul(down, side), builder.mul(across, side)
        self._edge(last_row, arg["m"], integer(0), arg["n"])
        self._edge(integer(0), last_row, last_column, arg["n"])

    def _block(self, row, column):
        builder, arg, lanes = self.builder, self.arg, self.lanes
        rows = [builder.add(row, integer(i)) for i in range(lanes)]
        columns = [builder.add(column, integer(i)) for i in range(lanes)]

        def vector_at(base, stride, line, offset):
            return self._pointer(
                self._moved(arg[base], builder.mul(line, arg[stride])), offset, self._vector()
            )

        lines = [self._load(vector_at("a", "lda", r, column), lanes) for r in rows]
        distance = 1
        while distance < lanes:  # Eklundh (1972): swap ever larger off-diagonal squares
            for i in range(lanes):
                if not i & distance:
                    lines[i], lines[i + distance] = self._swap(lines[i], lines[i + distance], distance)
            distance *= 2
        for line, c in zip(lines, columns, strict=True):
            self._store(line, vector_at("out", "ldo", c, row), lanes)

    def _swap(self, upper, lower, distance):
        lanes = self.lanes
        first = [p if not p & distance else lanes + p - distance for p in range(lanes)]
        second = [p + distance if not p & distance else lanes + p for p in range(lanes)]
        kind = ir.VectorType(I32, lanes)
        return [
            self.builder.shuffle_vector(upper, lower, ir.Constant(kind, places)) for places in (first, second)
        ]

    def _edge(self, first_row, last_row, first_column, last_column):
        builder, arg, element = self.builder, self.arg, self.element
        rows, columns = builder.sub(last_row, first_row), builder.sub(last_column, first_column)
        with cgutils.for_range(builder, rows) as i, cgutils.for_range(builder, columns) as j:
            row, column = builder.add(first_row, i.index), builder.add(first_column, j.index)
            source = builder.add(builder.mul(row, arg["lda"]), column)
            target = builder.add(builder.mul(column, arg["ldo"]), row)
            value = builder.load(self._pointer(arg["a"], source, element))
            builder.store(value, self._pointer(arg["out"], target, element))


class _Bits(Registers):
    """Generates the comparison of 64 elements with zero."""

    def emit(self):
        builder = self.builder
        result = cgutils.alloca_once(builder, I64)
        with builder.if_else(builder.icmp_signed("==", self.arg["n"], integer(64))) as (whole, part):
            with whole:
                builder.store(self._bits(lambda first: None), result)
            with part:
                builder.store(self._bits(self._mask_from), result)
        return builder.load(result)

    def _mask_from(self, first):
        return self._mask(self.builder.sub(self.arg["n"], integer(first)), self.lanes)

    def _bits(self, mask_from):
        builder, bits = self.builder, integer(0)
        zeros = ir.Constant(self._vector(), [0.0] * self.lanes)
        for first in range(0, 64, self.lanes):
            mask = mask_from(first)
            value = self._load(self._pointer(self.arg["a"], integer(first), self._vector()), self.lanes, mask)
            some = builder.bitcast(builder.fcmp_unordered("!=", value, zeros), ir.IntType(self.lanes))
            bits = builder.or_(bits, builder.shl(builder.zext(some, I64), integer(first)))
        return bits
