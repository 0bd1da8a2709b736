"""SIMD matrix products with sums in vector registers, and transposition.

LLVM does not keep an array of sums in registers by itself, so these are emitted as LLVM vectors. They beat a
BLAS call, which packs its operands, as long as the right-hand matrix fits the cache (``bench/README.md``).
Terms are added in order, whatever the shapes, so the bits depend neither on the width of the vectors nor on
how rows and columns are cut.

Arguments are integers: addresses, and strides that count elements. ``zero`` gives the element type.
"""

import functools
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_FAST = ("contract",)  # multiply and add may fuse; nothing may be reordered


def _int(value):
    return ir.Constant(_I64, value)


@functools.cache
def vector_bytes():
    """Return the width in bytes of vectors: 64 with AVX-512, else 32.

    Asked of Numba, whose disk cache holds code for one set of features only.
    """
    return 64 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 32


def _define(tile_64, tile_32, index_a, index_b):
    """Define the intrinsic of one kind of product; a tile is (heights of row blocks, vectors across)."""

    @intrinsic
    def product(typingctx, zero, m, n, k, a, a_row, a_column, b, ldb, index, start, start_row, out, ldo):
        real = zero

        def codegen(context, builder, signature, args):
            names = "m n k a a_row a_column b ldb index start start_row out ldo".split()
            arg = dict(zip(names, args[1:], strict=True))
            tile = tile_64 if vector_bytes() == 64 else tile_32
            _Product(builder, context.get_value_type(real), arg, tile, index_a, index_b).emit()
            return context.get_dummy_value()

        return types.void(real, *[types.int64] * 13), codegen

    return product


#: ``out[i, j] = start[i, j] + sum_p a[i, p] * b[p, j]`` for an (m, k) and a (k, n) matrix. ``a[i, p]`` stands
#: at ``a_row * i + a_column * p``, so that a transposed ``a`` costs nothing; rows of ``b`` are ``ldb`` apart,
#: of ``start`` ``start_row`` (0 for one row, such as a bias, for all), of ``out`` ``ldo``. ``out`` may be
#: ``start``; ``index`` is not read. AVX-512 has twice the registers, hence twice the sums.
dense_product = _define(((8, 4, 1), 2), ((4, 1), 2), False, False)

#: The same over the terms that ``index`` (int32, ``k`` of them) lists: ``a[i, index[p]] * b[index[p], j]``.
#: One row at a time, wide: ``b`` comes from the L2 cache in whole lines.
chosen_product = _define(((1,), 8), ((1,), 8), True, True)

#: The same for four rows and a smaller ``b``.
four_row_product = _define(((4, 1), 4), ((4, 1), 2), True, True)

#: ``a[i, p] * b[index[p], j]``: the values are listed beside their indices.
listed_product = _define(((1,), 8), ((1,), 8), False, True)


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


class _Registers:
    """Base of the code generators: vectors of one element type at computed addresses."""

    def __init__(self, builder, element, arg):
        self.builder, self.element, self.arg = builder, element, arg
        self.itemsize = 4 if isinstance(element, ir.FloatType) else 8
        self.lanes = vector_bytes() // self.itemsize

    def _moved(self, base, elements):
        """Return the address ``elements`` elements after ``base``."""
        return self.builder.add(base, self.builder.mul(elements, _int(self.itemsize)))

    def _pointer(self, base, offset, kind):
        """Return a pointer to the element ``offset`` of the array at ``base``."""
        elements = self.builder.inttoptr(base, self.element.as_pointer())
        return self.builder.bitcast(self.builder.gep(elements, [offset]), kind.as_pointer())

    def _vector(self, lanes=None):
        return ir.VectorType(self.element, lanes or self.lanes)

    def _mask(self, rest, lanes):
        """Return the mask of the lanes below ``rest``, a vector of booleans."""
        lane = ir.Constant(ir.VectorType(_I32, lanes), list(range(lanes)))
        return self.builder.icmp_signed("<", lane, self._broadcast(self.builder.trunc(rest, _I32), lanes))

    def _broadcast(self, scalar, lanes):
        builder = self.builder
        one = builder.insert_element(
            ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined), scalar, ir.Constant(_I32, 0)
        )
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))

    def _load(self, at, lanes, mask=None):
        builder = self.builder
        if mask is None:
            return builder.load(at, align=self.itemsize)
        kind = ir.FunctionType(self._vector(lanes), [at.type, _I32, mask.type, self._vector(lanes)])
        rest = ir.Constant(self._vector(lanes), [0.0] * lanes)
        masked = self._masked("load", lanes, kind)
        return builder.call(masked, [at, ir.Constant(_I32, self.itemsize), mask, rest])

    def _store(self, value, at, lanes, mask=None):
        builder = self.builder
        if mask is None:
            builder.store(value, at, align=self.itemsize)
            return
        kind = ir.FunctionType(ir.VoidType(), [self._vector(lanes), at.type, _I32, mask.type])
        masked = self._masked("store", lanes, kind)
        builder.call(masked, [value, at, ir.Constant(_I32, self.itemsize), mask])

    def _masked(self, verb, lanes, kind):
        short = {4: "f32", 8: "f64"}[self.itemsize]
        return cgutils.get_or_insert_function(
            self.builder.module, kind, f"llvm.masked.{verb}.v{lanes}{short}.p0"
        )


class _Column(NamedTuple):
    """One vector across a block of rows: its first column, its width, and its mask (None: no mask)."""

    offset: ir.Value
    lanes: int
    mask: ir.Value | None = None


class _Product(_Registers):
    """Generates a product: blocks of rows times vectors, the last vector masked if it is partial."""

    def __init__(self, builder, element, arg, tile, index_a, index_b):
        super().__init__(builder, element, arg)
        self.heights, self.width = tile
        self.index_a, self.index_b = index_a, index_b

    def emit(self):
        builder, n = self.builder, self.arg["n"]
        across = _int(self.width * self.lanes)
        blocks = builder.sdiv(n, across)
        rest = builder.sub(n, builder.mul(blocks, across))
        # With AVX-512 a short rest joins the last whole block: it costs its share, and no loads of its own.
        joins = self._has_room() and builder.and_(
            builder.and_(
                builder.icmp_signed(">", rest, _int(0)), builder.icmp_signed("<=", rest, _int(self.lanes))
            ),
            builder.icmp_signed(">", blocks, _int(0)),
        )
        if joins:
            blocks = builder.sub(blocks, builder.zext(joins, _I64))
        with cgutils.for_range(builder, blocks) as loop:
            self._columns(self._whole(builder.mul(loop.index, across), self.width))
        at = builder.mul(blocks, across)
        if joins:
            with builder.if_else(joins) as (together, apart):
                with together:
                    self._tail(self._whole(at, self.width), builder.add(at, across), rest)
                with apart:
                    self._rest(at, rest)
        else:
            self._rest(at, rest)

    def _has_room(self):
        """Tell whether one more vector for each row of the tallest block fits into the registers."""
        return vector_bytes() == 64 and self.heights[0] * (self.width + 1) <= 24

    def _whole(self, first, count):
        step = self.lanes
        return [_Column(self.builder.add(first, _int(i * step)), step) for i in range(count)]

    def _rest(self, at, rest):
        """Generate the remaining columns: 0 to ``width`` vectors, the last one partial."""
        builder, lanes = self.builder, self.lanes
        count = builder.sdiv(builder.add(rest, _int(lanes - 1)), _int(lanes))
        done = builder.append_basic_block("product.done")
        switch = builder.switch(count, done)
        for vectors in range(1, self.width + 1):
            block = builder.append_basic_block(f"product.{vectors}")
            switch.add_case(_int(vectors), block)
            with builder.goto_block(block):
                whole = self._whole(at, vectors - 1)
                past = _int((vectors - 1) * lanes)
                self._tail(whole, builder.add(at, past), builder.sub(rest, past))
                builder.branch(done)
        builder.position_at_end(done)

    def _tail(self, whole, at, rest):
        """Generate whole vectors and ``rest`` more columns, in half a vector if that is enough."""
        builder, lanes, half = self.builder, self.lanes, self.lanes // 2
        if not self._has_room():
            self._columns([*whole, _Column(at, lanes, self._mask(rest, lanes))])
            return
        with builder.if_else(builder.icmp_signed("<=", rest, _int(half))) as (short, long):
            with short:
                self._columns([*whole, _Column(at, half, self._mask(rest, half))])
            with long:
                self._columns([*whole, _Column(at, lanes, self._mask(rest, lanes))])

    def _columns(self, columns):
        """Generate some columns of all rows."""
        builder, done = self.builder, _int(0)
        for height in self.heights:
            blocks = builder.sdiv(builder.sub(self.arg["m"], done), _int(height))
            with cgutils.for_range(builder, blocks) as loop:
                first = builder.add(done, builder.mul(loop.index, _int(height)))
                self._block([builder.add(first, _int(i)) for i in range(height)], columns)
            done = builder.add(done, builder.mul(blocks, _int(height)))

    def _block(self, rows, columns):
        """Generate some columns of some rows; all start values are read before anything is written."""
        builder, arg = self.builder, self.arg

        def cells(row):
            """Return what loads or stores each column of the row at an address."""
            return [(self._pointer(row, c.offset, self._vector(c.lanes)), c.lanes, c.mask) for c in columns]

        def lines(base, stride):
            return [self._moved(arg[base], builder.mul(row, arg[stride])) for row in rows]

        sums = []
        for line in lines("start", "start_row"):
            for cell in cells(line):
                sums.append(cgutils.alloca_once(builder, self._vector(cell[1])))
                builder.store(self._load(*cell), sums[-1])
        left = lines("a", "a_row")
        with cgutils.for_range(builder, arg["k"]) as loop:
            p = loop.index
            listed = self._listed(p) if self.index_b else p
            line = self._moved(arg["b"], builder.mul(listed, arg["ldb"]))
            values = [self._load(*cell) for cell in cells(line)]
            a_offset = builder.mul(listed if self.index_a else p, arg["a_column"])
            for i, a in enumerate(left):
                weight = builder.load(self._pointer(a, a_offset, self.element))
                for j, value in enumerate(values):
                    spread = self._broadcast(weight, columns[j].lanes)
                    self._add(sums[i * len(values) + j], spread, value)
        targets = [cell for line in lines("out", "ldo") for cell in cells(line)]
        for slot, cell in zip(sums, targets, strict=True):
            self._store(builder.load(slot), *cell)

    def _listed(self, p):
        indices = self.builder.inttoptr(self.arg["index"], _I32.as_pointer())
        return self.builder.sext(self.builder.load(self.builder.gep(indices, [p])), _I64)

    def _add(self, slot, weight, value):
        """Generate adding ``weight * value`` to a register."""
        term = self.builder.fmul(weight, value, flags=_FAST)
        self.builder.store(self.builder.fadd(self.builder.load(slot), term, flags=_FAST), slot)


class _Transpose(_Registers):
    """Generates a transposition: square blocks in registers, the edges element by element."""

    def emit(self):
        builder, arg, side = self.builder, self.arg, _int(self.lanes)
        down, across = builder.sdiv(arg["m"], side), builder.sdiv(arg["n"], side)
        with cgutils.for_range(builder, down) as i, cgutils.for_range(builder, across) as j:
            self._block(builder.mul(i.index, side), builder.mul(j.index, side))
        last_row, last_column = builder.mul(down, side), builder.mul(across, side)
        self._edge(last_row, arg["m"], _int(0), arg["n"])
        self._edge(_int(0), last_row, last_column, arg["n"])

    def _block(self, row, column):
        builder, arg, lanes = self.builder, self.arg, self.lanes
        rows = [builder.add(row, _int(i)) for i in range(lanes)]
        columns = [builder.add(column, _int(i)) for i in range(lanes)]

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
        kind = ir.VectorType(_I32, lanes)
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


class _Bits(_Registers):
    """Generates the comparison of 64 elements with zero."""

    def emit(self):
        builder, bits = self.builder, _int(0)
        zeros = ir.Constant(self._vector(), [0.0] * self.lanes)
        for first in range(0, 64, self.lanes):
            mask = self._mask(builder.sub(self.arg["n"], _int(first)), self.lanes)
            value = self._load(self._pointer(self.arg["a"], _int(first), self._vector()), self.lanes, mask)
            some = builder.bitcast(builder.fcmp_unordered("!=", value, zeros), ir.IntType(self.lanes))
            bits = builder.or_(bits, builder.shl(builder.zext(some, _I64), _int(first)))
        return bits
