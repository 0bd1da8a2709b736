"""SIMD matrix products with sums in vector registers, and transposition.

LLVM does not keep an array of sums in registers by itself, so these are emitted as LLVM vectors. They beat a
BLAS call, which packs its operands whatever their size (``bench/README.md``). The terms of a sum are added in
order, whatever the shapes, so the bits depend neither on the width of the vectors nor on how rows and columns
are cut.

Arguments are integers: addresses, and strides that count elements. ``zero`` gives the element type. The right
matrix is read up to a vector past the end of its rows, also of the last one.
"""

import contextlib
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


#: Terms that are added before a product goes on to the next columns: what is read of the right matrix then
#: stays in the L1 cache from one block of rows to the next.
TERMS = 128
#: Bytes between the rows of a right matrix from which the columns at hand are first copied: so far apart they
#: share few of the sets of the L1 cache. It pays for at least so many rows of the left matrix.
_FAR_APART, _ROWS_TO_COPY = 1024, 24
#: Bytes of the copy: `TERMS` rows of the widest panel.
COPY_BYTES = TERMS * 3 * 64


def _define(panels_64, panels_32, index_a, index_b):
    """Define the intrinsic of one kind of product from the panels for vectors of 64 and of 32 bytes."""

    @intrinsic
    def product(
        typingctx, zero, m, n, k, a, a_row, a_column, b, ldb, index, start, start_row, out, ldo, rectify
    ):
        real = zero

        def codegen(context, builder, signature, args):
            names = "m n k a a_row a_column b ldb index start start_row out ldo rectify".split()
            arg = dict(zip(names, args[1:], strict=True))
            panels = panels_64 if vector_bytes() == 64 else panels_32
            _Product(builder, context.get_value_type(real), arg, panels, index_a, index_b).emit()
            return context.get_dummy_value()

        return types.void(real, *[types.int64] * 14), codegen

    return product


#: Vectors across a panel, and the rows of its blocks: as many sums as the registers hold beside the operands.
_TILES_64, _TILES_32 = {3: 8, 2: 12, 1: 16}, {3: 4, 2: 6, 1: 8}

#: ``out[i, j] = start[i, j] + sum_p a[i, p] * b[p, j]`` for an (m, k) and a (k, n) matrix, or 0 where that is
#: negative and ``rectify`` is 1. ``a[i, p]`` stands at ``a_row * i + a_column * p``, so that a transposed
#: ``a`` costs nothing; rows of ``b`` are ``ldb`` apart, of ``start`` ``start_row`` (0 for one row, such as a
#: bias, for all), of ``out`` ``ldo``. ``out`` may be ``start``. ``index`` is the address of `COPY_BYTES` for
#: a copy of columns of ``b``, or 0 for none.
dense_product = _define(_TILES_64, _TILES_32, False, False)

#: The same over the terms that ``index`` (int32, ``k`` of them) lists: ``a[i, index[p]] * b[index[p], j]``,
#: for up to four rows.
chosen_product = _define(dict.fromkeys((3, 2, 1), 4), dict.fromkeys((3, 2, 1), 4), True, True)

#: ``a[i, p] * b[index[p], j]`` for one row: the values are listed beside their indices.
listed_product = _define(dict.fromkeys((8, 4, 2, 1), 1), dict.fromkeys((8, 4, 2, 1), 1), False, True)


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

    def _minimum(self, x, y):
        return self.builder.select(self.builder.icmp_signed("<", x, y), x, y)

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


@contextlib.contextmanager
def _rolled(builder, count):
    """Generate a loop of at least one turn over an index; keep LLVM from unrolling it.

    Unrolled, the loads of the next turn need registers that hold sums.
    """
    module, entry = builder.module, builder.block
    body, done = builder.append_basic_block("terms"), builder.append_basic_block("terms.done")
    builder.branch(body)
    builder.position_at_end(body)
    index = builder.phi(_I64)
    index.add_incoming(_int(0), entry)
    yield index
    following = builder.add(index, _int(1))
    index.add_incoming(following, builder.block)
    again = builder.cbranch(builder.icmp_signed("<", following, count), body, done)
    option = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    identity = module.add_metadata([option, _int(len(module.metadata))])
    identity.operands = (identity, option)  # a loop's metadata begins with itself
    again.set_metadata("llvm.loop", identity)
    builder.position_at_end(done)


class _Panel(NamedTuple):
    """Some vectors across: the first column, their number, and the mask of the last one."""

    first: ir.Value
    width: int
    is_partial: ir.Value
    mask: ir.Value


class _Product(_Registers):
    """Generates a product: panels of columns, each in blocks of rows; ``heights`` are these rows by width.

    Rows past the end repeat the last one, which costs as much as a block of fewer rows and needs no code.
    """

    def __init__(self, builder, element, arg, heights, index_a, index_b):
        super().__init__(builder, element, arg)
        self.heights, self.index_a, self.index_b = heights, index_a, index_b
        self.lowest = builder.select(
            builder.icmp_signed("!=", arg["rectify"], _int(0)), self._number(0.0), self._number("-inf")
        )

    def _number(self, value):
        return ir.Constant(self.element, float(value))

    def emit(self):
        if self.index_b:
            self._all_columns()
            return
        # Sums of many terms are put down and taken up again.
        builder, whole, lowest = self.builder, dict(self.arg), self.lowest
        blocks = builder.sdiv(builder.add(whole["k"], _int(TERMS - 1)), _int(TERMS))
        blocks = self._maximum(blocks, _int(1))
        step = builder.sdiv(builder.add(whole["k"], builder.sub(blocks, _int(1))), blocks)
        with cgutils.for_range(builder, blocks) as loop:
            done = builder.mul(loop.index, step)
            is_first = builder.icmp_signed("==", loop.index, _int(0))
            is_last = builder.icmp_signed("==", loop.index, builder.sub(blocks, _int(1)))
            self.lowest = builder.select(is_last, lowest, self._number("-inf"))
            self.arg = whole | {
                "k": self._minimum(step, builder.sub(whole["k"], done)),
                "a": self._moved(whole["a"], builder.mul(done, whole["a_column"])),
                "b": self._moved(whole["b"], builder.mul(done, whole["ldb"])),
                "start": builder.select(is_first, whole["start"], whole["out"]),
                "start_row": builder.select(is_first, whole["start_row"], whole["ldo"]),
            }
            self._all_columns()

    def _maximum(self, x, y):
        return self.builder.select(self.builder.icmp_signed(">", x, y), x, y)

    def _all_columns(self):
        """Generate panels from the widest to the narrowest."""
        builder, n, lanes = self.builder, self.arg["n"], self.lanes
        vectors = builder.sdiv(builder.add(n, _int(lanes - 1)), _int(lanes))
        at = _int(0)
        for width in self.heights:
            count = builder.sdiv(vectors, _int(width))
            if width == 3:  # 3 + 1 vectors go as 2 + 2: one alone is slow
                leaves_one = builder.icmp_signed("==", builder.srem(vectors, _int(3)), _int(1))
                has_more = builder.icmp_signed(">", count, _int(0))
                count = builder.sub(count, builder.zext(builder.and_(leaves_one, has_more), _I64))
            step = _int(width * lanes)
            with cgutils.for_range(builder, count) as loop:
                first = builder.add(at, builder.mul(loop.index, step))
                rest = builder.sub(builder.sub(n, first), _int((width - 1) * lanes))
                is_partial = builder.icmp_signed("<", rest, _int(lanes))
                self._rows(_Panel(first, width, is_partial, self._mask(rest, lanes)))
            at = builder.add(at, builder.mul(count, step))
            vectors = builder.sub(vectors, builder.mul(count, _int(width)))

    def _rows(self, panel):
        """Generate one panel of all rows."""
        builder, m, height = self.builder, self.arg["m"], self.heights[panel.width]
        right = self._right(panel)
        blocks, last = builder.sdiv(builder.add(m, _int(height - 1)), _int(height)), builder.sub(m, _int(1))
        with cgutils.for_range(builder, blocks) as loop:
            first = builder.mul(loop.index, _int(height))
            rows = [self._minimum(builder.add(first, _int(i)), last) for i in range(height)]
            self._block(rows, panel, *right)

    def _right(self, panel):
        """Return the address of a panel's first term, and the elements to the next; copy it if that pays."""
        builder, arg, size = self.builder, self.arg, _int(self.itemsize)
        line, ldb = self._moved(arg["b"], panel.first), arg["ldb"]
        if self.index_b:
            return line, ldb
        pays = builder.and_(
            builder.icmp_signed(">=", builder.mul(ldb, size), _int(_FAR_APART)),
            builder.icmp_signed(">=", arg["m"], _int(_ROWS_TO_COPY)),
        )
        pays = builder.and_(pays, builder.icmp_signed("!=", arg["index"], _int(0)))
        across = _int(panel.width * self.lanes)
        with builder.if_then(pays), cgutils.for_range(builder, arg["k"]) as loop:
            values = self._values(self._moved(line, builder.mul(loop.index, ldb)), panel.width)
            target = self._moved(arg["index"], builder.mul(loop.index, across))
            for value, at in zip(values, self._places(target, panel.width), strict=True):
                self._store(value, at, self.lanes)
        return builder.select(pays, arg["index"], line), builder.select(pays, across, ldb)

    def _places(self, address, width):
        """Return pointers to neighbouring vectors."""
        return [self._pointer(address, _int(j * self.lanes), self._vector()) for j in range(width)]

    def _values(self, address, width):
        return [self._load(at, self.lanes) for at in self._places(address, width)]

    def _lines(self, base, stride, rows):
        return [self._moved(self.arg[base], self.builder.mul(row, self.arg[stride])) for row in rows]

    def _block(self, rows, panel, right, ldb):
        """Generate one panel of some rows; all start values are read before anything is written."""
        builder, arg, width = self.builder, self.arg, panel.width
        sums = [cgutils.alloca_once(builder, self._vector()) for _ in range(width * len(rows))]
        values = []
        for line in self._lines("start", "start_row", rows):
            *whole, last = self._places(self._moved(line, panel.first), width)
            values += [self._load(at, self.lanes) for at in whole]
            values.append(self._load(last, self.lanes, panel.mask))
        for value, slot in zip(values, sums, strict=True):
            builder.store(value, slot)
        left = self._lines("a", "a_row", rows)
        with builder.if_then(builder.icmp_signed(">", arg["k"], _int(0))), _rolled(builder, arg["k"]) as p:
            term = self._listed(p) if self.index_b else p
            values = self._values(self._moved(right, builder.mul(term, ldb)), width)
            a_offset = builder.mul(term if self.index_a else p, arg["a_column"])
            for i, a in enumerate(left):
                weight = builder.load(self._pointer(a, a_offset, self.element))
                spread = self._broadcast(weight, self.lanes)
                for j, value in enumerate(values):
                    self._add(sums[i * width + j], spread, value)
        self._put(sums, rows, panel)

    def _put(self, sums, rows, panel):
        """Generate writing the sums of a block, rectified."""
        builder, width = self.builder, panel.width
        lowest = self._broadcast(self.lowest, self.lanes)
        values = [builder.load(slot) for slot in sums]
        values = [builder.select(builder.fcmp_ordered("<", v, lowest), lowest, v) for v in values]
        lasts = []
        for line in self._lines("out", "ldo", rows):
            *whole, last = self._places(self._moved(line, panel.first), width)
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
        # Blocks that share cache lines follow each other: far apart lines soon leave the L1 cache.
        together = _int(64 // vector_bytes())

        def grouped(count):
            return builder.sdiv(builder.add(count, builder.sub(together, _int(1))), together)

        def block_of(group, count):
            first = builder.mul(group.index, together)
            return first, self._minimum(builder.sub(count, first), together)

        with cgutils.for_range(builder, grouped(down)) as i, cgutils.for_range(builder, grouped(across)) as j:
            (row, n_rows), (column, n_columns) = block_of(i, down), block_of(j, across)
            with cgutils.for_range(builder, n_rows) as r, cgutils.for_range(builder, n_columns) as c:
                at = builder.add(row, r.index), builder.add(column, c.index)
                self._block(*(builder.mul(index, side) for index in at))
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
        builder = self.builder
        result = cgutils.alloca_once(builder, _I64)
        with builder.if_else(builder.icmp_signed("==", self.arg["n"], _int(64))) as (whole, part):
            with whole:
                builder.store(self._bits(lambda first: None), result)
            with part:
                builder.store(self._bits(self._mask_from), result)
        return builder.load(result)

    def _mask_from(self, first):
        return self._mask(self.builder.sub(self.arg["n"], _int(first)), self.lanes)

    def _bits(self, mask_from):
        builder, bits = self.builder, _int(0)
        zeros = ir.Constant(self._vector(), [0.0] * self.lanes)
        for first in range(0, 64, self.lanes):
            mask = mask_from(first)
            value = self._load(self._pointer(self.arg["a"], _int(first), self._vector()), self.lanes, mask)
            some = builder.bitcast(builder.fcmp_unordered("!=", value, zeros), ir.IntType(self.lanes))
            bits = builder.or_(bits, builder.shl(builder.zext(some, _I64), _int(first)))
        return bits
