"""Scratch of one call of the loop: rows for inputs, normals, samples and flags."""

from typing import Any, NamedTuple

import numpy as np

from .calls import borrowed
from .drivers import Driver, Sparse
from .fillers import Fillers
from .inputs import GROUP
from .normal import SCRATCH
from .options import inlined
from .programs import Program


class Space(NamedTuple):
    """Scratch of one call, and the fillers that use it."""

    fillers: Fillers
    words: Any
    n: Any
    out: Any
    normal: Any
    uniform: Any
    base: Any
    drawn: Any
    z: Any
    w: Any
    flags: Any
    alive: Any
    index: Any
    stamp: Any


def make_space(fillers: Fillers, program: Program, driver: Driver, dtype: Any) -> Space:
    """Fresh scratch: sizes follow from the problem alone."""
    lanes, base = program.lanes, driver.normals + len(driver.chance)
    per = 16 // np.dtype(dtype).itemsize
    grouped = driver.channels * (per + (driver.batch if driver.batch > 1 else 0))

    def real(rows: int) -> np.ndarray:
        return np.zeros(rows * lanes, dtype)

    return Space(
        fillers=fillers,
        words=np.zeros(SCRATCH * lanes, np.uint32),
        n=real(program.inputs),
        out=real(program.observables),
        normal=real(max(GROUP * max(driver.normals, 1), grouped)),
        uniform=real(GROUP * len(driver.chance)),
        base=real(max(base, 1)),
        drawn=real(len(driver.location)),
        z=real(program.data),
        w=real(1),
        flags=np.zeros(lanes, np.int32),
        alive=np.zeros(lanes, np.int32),
        index=np.zeros(driver.batch * lanes if len(driver.table) else 0, np.int64),
        stamp=np.zeros(0 if driver.replacement else len(driver.table) + 1, np.int64),
    )


@inlined
def borrow_space(space):
    """The scratch, its arrays borrowed."""
    return Space(
        space.fillers,
        borrowed(space.words),
        borrowed(space.n),
        borrowed(space.out),
        borrowed(space.normal),
        borrowed(space.uniform),
        borrowed(space.base),
        borrowed(space.drawn),
        borrowed(space.z),
        borrowed(space.w),
        borrowed(space.flags),
        borrowed(space.alive),
        borrowed(space.index),
        borrowed(space.stamp),
    )


@inlined
def borrow_sparse(matrix):
    return Sparse(borrowed(matrix.start), borrowed(matrix.column), borrowed(matrix.value))


@inlined
def borrow_driver(driver):
    """The driver, its arrays borrowed."""
    return Driver(
        driver.kind,
        borrowed(driver.mean),
        driver.channels,
        borrow_sparse(driver.factor),
        driver.batch,
        driver.replacement,
        borrowed(driver.table),
        borrowed(driver.table_rows),
        borrowed(driver.weights),
        driver.normals,
        borrowed(driver.chance),
        borrowed(driver.location),
        borrow_sparse(driver.mixing),
        borrowed(driver.law_rows),
    )
