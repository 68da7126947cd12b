"""NamedTuples inside kernels: by the address of their words (`arguments.pack`), read where a member is asked for. As
values, some two hundred numbers would go into every function that takes one."""

from itertools import accumulate
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import lower_getattr_generic, models, register_model

from .views import c_array

WORD = ir.IntType(64)


class Members(types.NamedTuple):
    """Numba's type of a NamedTuple, of these types, as an address."""

    def __init__(self, parts: Any, of: type) -> None:
        super().__init__(parts, of)
        self.offsets = list(accumulate(map(words_of, parts), initial=0))

    @property
    def key(self) -> str:
        return self.name

    @property
    def mangling_args(self) -> tuple[str, tuple[()]]:
        return self.instance_class.__name__, ()


@register_model(Members)
class _Address(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Any) -> None:
        super().__init__(manager, of, ir.ArrayType(WORD, words_of(of)).as_pointer())


@lower_getattr_generic(Members)
def _member(context: Any, builder: Any, of: Any, address: Any, name: str) -> Any:
    index = of.fields.index(name)
    start = builder.gep(builder.bitcast(address, WORD.as_pointer()), [WORD(of.offsets[index])])
    return Words(context, builder, start).value(of.types[index])


def promise(function: Any) -> None:
    """Tell LLVM of the addresses among a function's arguments that all their words may be read, so that it reads them
    before a loop, not in it."""
    for argument in function.args:
        words: Any = getattr(argument.type, "pointee", None)
        if isinstance(words, ir.ArrayType):
            argument.attributes.dereferenceable, argument.attributes.align = WORD.width // 8 * words.count, 8


def words_of(part: Any) -> int:
    """How many words a value of Numba's type takes."""
    if isinstance(part, types.BaseTuple):
        return sum(map(words_of, part))  # type: ignore[attr-defined]
    return 1 + part.ndim if isinstance(part, types.Array) else 1


class Words:
    """Reads values from the words that `arguments.pack` has written, one after another."""

    def __init__(self, context: Any, builder: Any, start: Any) -> None:
        self.context, self.builder, self.start, self.taken = context, builder, start, 0

    def next(self) -> Any:
        """A word, which nothing writes to while the function runs."""
        at = self.builder.gep(self.start, [WORD(self.taken)])
        self.taken += 1
        read = self.builder.load(at)
        read.set_metadata("invariant.load", self.builder.module.add_metadata([]))
        return read

    def value(self, kind: Any) -> Any:
        """A value of Numba's type `kind`."""
        context, builder = self.context, self.builder
        target = context.get_value_type(kind)
        if isinstance(kind, Members):
            at = builder.gep(self.start, [WORD(self.taken)])
            self.taken += words_of(kind)
            return builder.bitcast(at, target)
        if isinstance(kind, types.BaseTuple):
            return context.make_tuple(builder, kind, [self.value(k) for k in kind])  # type: ignore[attr-defined]
        if isinstance(kind, types.Array):
            data = self.next()
            return c_array(context, builder, kind, data, [self.next() for _ in range(kind.ndim)])
        found = self.next()
        if isinstance(kind, types.Boolean):
            return builder.icmp_unsigned("!=", found, ir.Constant(found.type, 0))
        return builder.bitcast(found, target) if isinstance(kind, types.Float) else found
