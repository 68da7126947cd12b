"""Indirect calls to emitted functions by address, so that the loop is compiled once and serves every problem.

Arrays are passed as bare data pointers. An address must come from `compiled_program.compile_emitted` with the same
dtype.
"""

from typing import Any

from .options import intrinsic, overloaded, types


def _emit_call(context, builder, signature, arguments):
    from llvmlite import ir

    values = []
    for kind, value in zip(signature.args[1:], arguments[1:], strict=True):
        is_array = isinstance(kind, types.Array)
        values.append(context.make_array(kind)(context, builder, value).data if is_array else value)
    function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(builder.inttoptr(arguments[0], function.as_pointer()), values)
    return context.get_dummy_value()


def _emit_number(context, builder, signature, arguments):
    from llvmlite import ir

    kinds = [context.get_value_type(kind) for kind in signature.args[1:]]
    function = ir.FunctionType(context.get_value_type(signature.return_type), kinds)
    return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])


def _step(typing_context, address, x, n, h, t, p):
    """step(x, n, h, t, p) at int64 `address`."""
    return types.void(types.int64, x, n, h, t, p), _emit_call


def _accumulate(typing_context, address, x, z, w, n, p):
    """accumulate(x, z, w, n, p) at int64 `address`."""
    return types.void(types.int64, x, z, w, n, p), _emit_call


def _sweep(typing_context, address, x, z, w, n, p, rows):
    """sweep(x, z, w, n, p, rows) at int64 `address`."""
    return types.void(types.int64, x, z, w, n, p, types.int64), _emit_call


def _observe(typing_context, address, x, t, p, out):
    """observe(x, t, p, out) at int64 `address`."""
    return types.void(types.int64, x, t, p, out), _emit_call


def _fill(typing_context, address, out, words, spare, rows, lanes, seed, first_path, step, stream, block):
    """A fill of `fillers` at int64 `address`: fill `rows` rows of out; scratch words, spare."""
    i64 = types.int64
    signature = types.void(i64, out, words, spare, i64, i64, types.uint64, i64, i64, i64, i64)
    return signature, _emit_call


def _fill_of(typing_context, address, out, words, spare, paths, rows, lanes, seed, step, stream, block):
    """A fill of `scattered` at int64 `address`: fill `rows` rows of out; scratch words, spare."""
    i64 = types.int64
    return types.void(i64, out, words, spare, paths, i64, i64, types.uint64, i64, i64, i64), _emit_call


def _fill_at(typing_context, address, out, words, spare, nodes, rows, lanes, seed, first_path, step, stream):
    """A fill of `nodes` at int64 `address`: fill `rows` rows of out; scratch words, spare."""
    i64 = types.int64
    return types.void(i64, out, words, spare, nodes, i64, i64, types.uint64, i64, i64, i64), _emit_call


def _arrive(typing_context, address, y, x, e, h, t, p):
    """arrive(y, x, e, h, t, p) at int64 `address`."""
    return types.void(types.int64, y, x, e, h, t, p), _emit_call


def _reach(typing_context, address, y, x, e, h, t, p, out):
    """reach(y, x, e, h, t, p, out) at int64 `address`."""
    return types.void(types.int64, y, x, e, h, t, p, out), _emit_call


def _change(typing_context, address, x, e, m, t, p):
    """change(x, e, m, t, p) at int64 `address`."""
    return types.void(types.int64, x, e, m, t, p), _emit_call


def _combine(typing_context, address, out, offset, start, column, value, base, stride, factor, lanes, rows):
    """combine of `records` at int64 `address`."""
    i64 = types.int64
    return types.void(i64, out, offset, start, column, value, base, i64, factor, i64, i64), _emit_call


def _record(typing_context, address, cell, row, path, dead, sums, valid, lanes, counted, kept, whole):
    """record of `records` at int64 `address`."""
    i64 = types.int64
    return types.void(i64, cell, row, path, dead, sums, i64, i64, i64, i64, i64), _emit_call


def _mark_exploded(
    typing_context,
    address,
    x,
    dead,
    when,
    flags,
    alive,
    times,
    own_steps,
    stride,
    states,
    living,
    lanes,
    spare,
    bound,
    state,
):
    """mark_exploded of `records` at int64 `address`."""
    i64 = types.int64
    rows = (x, dead, when, flags, alive, times, own_steps)
    return types.void(i64, *rows, i64, i64, i64, i64, i64, bound, i64), _emit_call


def _date(typing_context, address, rows, hit, when, times, stride, count, lanes, state):
    """date of `records` at int64 `address`."""
    i64 = types.int64
    return types.void(i64, rows, hit, when, times, i64, i64, i64, i64), _emit_call


def _pace(typing_context, address, x, h, t, p):
    """pace(x, h, t, p) at int64 `address`."""
    return types.void(types.int64, x, h, t, p), _emit_call


def _passage(typing_context, address, a, b, seed, path, step, block):
    """passage of `random.variates` at int64 `address`."""
    i64, d = types.int64, types.float64
    return d(i64, d, d, types.uint64, i64, i64, i64), _emit_number


def _wait(typing_context, address, seed, path, count, clock):
    """wait of `random.variates` at int64 `address`."""
    i64 = types.int64
    return types.float64(i64, types.uint64, i64, i64, i64), _emit_number


def _size(typing_context, address, kind, seed, path, count, row):
    """size of `random.variates` at int64 `address`."""
    i64, d = types.int64, types.float64
    return d(i64, d, types.uint64, i64, i64, i64), _emit_number


def expect_write(array: Any, at: Any) -> None:
    """Have the cache line of array[at], which is to be written soon, fetched meanwhile; any `at` is harmless."""


def _prefetch(typing_context, array, at):
    """`expect_write`, compiled."""

    def emit(context, builder, signature, arguments):
        from llvmlite import ir

        data = context.make_array(array)(context, builder, arguments[0]).data
        byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], function)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(fetch, [place, *(ir.Constant(i32, n) for n in (1, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.int64), emit


prefetch: Any = intrinsic(_prefetch)
overloaded(expect_write, lambda array, at: lambda array, at: prefetch(array, at))
call_step: Any = intrinsic(_step)
call_accumulate: Any = intrinsic(_accumulate)
call_sweep: Any = intrinsic(_sweep)
call_observe: Any = intrinsic(_observe)
call_fill: Any = intrinsic(_fill)
call_pace: Any = intrinsic(_pace)
call_record: Any = intrinsic(_record)
call_mark_exploded: Any = intrinsic(_mark_exploded)
call_date: Any = intrinsic(_date)
call_fill_of: Any = intrinsic(_fill_of)
call_fill_at: Any = intrinsic(_fill_at)
call_arrive: Any = intrinsic(_arrive)
call_reach: Any = intrinsic(_reach)
call_change: Any = intrinsic(_change)
call_combine: Any = intrinsic(_combine)
call_passage: Any = intrinsic(_passage)
call_wait: Any = intrinsic(_wait)
call_size: Any = intrinsic(_size)
