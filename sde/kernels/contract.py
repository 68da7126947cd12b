"""Matrix products in every lane: t[u, v] += sum over k of a[u, k]*b[v, k], each entry summed in the order of k.

The compiled form of `contract` and `contract_shared` of emitted texts (b shared by all lanes), which are the same in
plain loops. A tile of entries stays in registers while k runs; how large tiles and vectors are follows the processor
and does not change a bit.
"""

from ctypes import POINTER, c_double, c_float, c_int64
from functools import cache
from typing import Any

from .machine_code import PRODUCT, native
from .options import intrinsic, types
from .target import vector_bytes

TALL = 4
"""Entries of a tile along u, as long as there are so many."""


def _tile(tall: int, broad: int, shared: bool) -> Any:
    """tile(t, t0, tu, tv, a, a0, au, ak, b, b0, bv, bk, ks) for `tall` by `broad` entries of one vector of lanes."""

    def tile(typing_context, t, t0, tu, tv, a, a0, au, ak, b, b0, bv, bk, ks):
        places = (types.int64,) * 3

        def emit(context, builder, signature, arguments):
            from llvmlite import ir

            scalar = context.get_value_type(signature.args[0].dtype)
            size = context.get_abi_sizeof(scalar)
            vector, word = ir.VectorType(scalar, vector_bytes() // size), ir.IntType(64)
            first = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
            fused = ("contract",)

            def data(k):
                return builder.gep(arguments[k], [arguments[k + 1]])

            def further(pointer, *strides):
                for stride, times in strides:
                    pointer = builder.gep(pointer, [builder.mul(stride, ir.Constant(word, times))])
                return pointer

            def load(pointer):
                found = builder.load(builder.bitcast(pointer, vector.as_pointer()))
                found.align = size
                return found

            def spread(pointer):
                none = ir.Constant(vector, ir.Undefined)
                one = builder.insert_element(none, builder.load(pointer), ir.Constant(ir.IntType(32), 0))
                return builder.shuffle_vector(one, none, first)

            _, _, tu, tv, _, _, au, ak, _, _, bv, bk, count = arguments
            to = [[further(data(0), (tu, u), (tv, v)) for v in range(broad)] for u in range(tall)]
            begin, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
            start = data(4), data(8)
            before = [[load(p) for p in row] for row in to]
            builder.cbranch(builder.icmp_signed(">", count, ir.Constant(word, 0)), loop, end)
            builder.position_at_end(loop)
            k, left, right = builder.phi(word), builder.phi(start[0].type), builder.phi(start[1].type)
            sums = [[builder.phi(vector) for _ in row] for row in to]
            columns = [(spread if shared else load)(further(right, (bv, v))) for v in range(broad)]
            after = []
            for u, row in enumerate(sums):
                weight = load(further(left, (au, u)))
                products = [builder.fmul(weight, column, flags=fused) for column in columns]
                after.append([builder.fadd(s, q, flags=fused) for s, q in zip(row, products, strict=True)])
            following = builder.add(k, ir.Constant(word, 1)), builder.gep(left, [ak]), builder.gep(right, [bk])
            for phi, old, new in zip((k, left, right), (ir.Constant(word, 0), *start), following, strict=True):
                phi.add_incoming(old, begin)
                phi.add_incoming(new, loop)
            back = builder.cbranch(builder.icmp_signed("<", following[0], count), loop, end)
            back.set_metadata("llvm.loop", _once(builder.module))
            builder.position_at_end(end)
            for u in range(tall):
                for v in range(broad):
                    sums[u][v].add_incoming(before[u][v], begin)
                    sums[u][v].add_incoming(after[u][v], loop)
                    value = builder.phi(vector)
                    value.add_incoming(before[u][v], begin)
                    value.add_incoming(after[u][v], loop)
                    to[u][v] = value, to[u][v]
            for value, pointer in (entry for row in to for entry in row):
                builder.store(value, builder.bitcast(pointer, vector.as_pointer())).align = size
            return context.get_dummy_value()

        return types.void(t, *places, a, *places, b, *places, types.int64), emit

    return intrinsic(tile)


def _once(module: Any) -> Any:
    """The mark of a loop that is not to be unrolled, which would take time and gain none: a node that names itself."""
    from llvmlite import ir

    rule = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    node = module.add_metadata([ir.Constant(ir.IntType(64), len(module.metadata))])
    node.operands = node, rule
    return node


TILES: Any = {
    (tall, broad, shared): _tile(tall, broad, shared)
    for tall, broad in ((1, 1), (1, 4), (TALL, 1), (TALL, 2), (TALL, 3), (TALL, 4))
    for shared in (False, True)
}


def body(shared: bool, size: int) -> Any:
    """The loops over tiles, for numbers of `size` bytes. 16 vectors of 32 bytes are in registers, else 32 vectors."""
    low1, low4 = (TILES[1, k, shared] for k in (1, 4))
    tall1, tall2, tall3, tall4 = (TILES[TALL, k, shared] for k in (1, 2, 3, 4))
    width = vector_bytes()
    most, vector = (2 if width == 32 else 4), width // size

    def products(t, t0, tu, tv, a, a0, au, ak, b, b0, bv, bk, us, vs, ks, lanes):
        for i in range(0, lanes, vector):
            bi = b0 if shared else b0 + i
            u = 0
            while u < us:
                tall = us - u >= TALL
                for v in range(0, vs, most):
                    broad = min(most, vs - v)
                    to, left, right = t0 + u * tu + v * tv + i, a0 + u * au + i, bi + v * bv
                    if tall:
                        if broad == 4:
                            tall4(t, to, tu, tv, a, left, au, ak, b, right, bv, bk, ks)
                        elif broad == 3:
                            tall3(t, to, tu, tv, a, left, au, ak, b, right, bv, bk, ks)
                        elif broad == 2:
                            tall2(t, to, tu, tv, a, left, au, ak, b, right, bv, bk, ks)
                        else:
                            tall1(t, to, tu, tv, a, left, au, ak, b, right, bv, bk, ks)
                    elif broad == 4:
                        low4(t, to, tu, tv, a, left, au, ak, b, right, bv, bk, ks)
                    else:
                        for j in range(broad):
                            at, of = to + j * tv, right + j * bv
                            low1(t, at, tu, tv, a, left, au, ak, b, of, bv, bk, ks)
                u += TALL if tall else 1

    return products


SCALARS = {"float32": c_float, "float64": c_double}


def name(dtype: str, shared: bool) -> str:
    """Of the C function."""
    return f"{PRODUCT}_{dtype}_{'shared' if shared else 'own'}"


@cache
def compiled(wanted: str) -> Any:
    """The C function of that name, compiled or from the cache."""
    _, _, dtype, kind = wanted.split("_")
    rows, i64 = POINTER(SCALARS[dtype]), c_int64
    signature = None, *(rows, i64, i64, i64) * 3, *(i64,) * 4
    return native(body(kind == "shared", 8 if dtype == "float64" else 4), signature, stamp=wanted)


def _call(shared: bool) -> Any:
    def contract(typing_context, t, t0, tu, tv, a, a0, au, ak, b, b0, bv, bk, us, vs, ks, lanes):
        def emit(context, builder, signature, arguments):
            from llvmlite import ir

            values = []
            for kind, value in zip(signature.args, arguments, strict=True):
                is_array = isinstance(kind, types.Array)
                values.append(context.make_array(kind)(context, builder, value).data if is_array else value)
            called, module = name(str(signature.args[0].dtype), shared), builder.module
            made = module.globals.get(called)
            if made is None:
                made = ir.Function(module, ir.FunctionType(ir.VoidType(), [v.type for v in values]), called)
            builder.call(made, values)
            return context.get_dummy_value()

        word = types.int64
        places = (word,) * 3
        return types.void(t, *places, a, *places, b, *places, word, word, word, word), emit

    return intrinsic(contract)


contract, contract_shared = _call(False), _call(True)
"""What emitted texts call: those C functions."""
