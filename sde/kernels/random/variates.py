"""Random numbers of single lanes, as C functions (see `shared_functions`): dates of crossings, waits for jumps, sizes
of changes. Most lanes need none in a step, and a run that has none of a kind does not compile it."""

from ctypes import c_double, c_int64, c_uint64

import numpy as np

from ..math import cos, log
from ..options import inlined
from .philox import STREAM_CROSSING, STREAM_MARK, STREAM_WAIT, draw

TIME_BLOCKS = 0x80000000


@inlined
def unit(word):
    """A uniform in (0, 1) from a 32-bit word."""
    return (np.float64(word) + 0.5) * 2.0**-32


@inlined
def _wide(high, low):
    """A uniform in (0, 1) from the 52 first bits of two words."""
    return (np.float64((high << np.uint64(20)) | (low >> np.uint64(12))) + 0.5) * 2.0**-52


def passage(a, b, seed, path, step, block):
    """Share of a step after which a bridge of variance 1 from 0 to a - b first meets a > 0."""
    w0, w1, w2, _ = draw(
        np.uint64(seed), np.uint64(path), np.uint64(step), np.uint64(STREAM_CROSSING), np.uint64(TIME_BLOCKS + block)
    )
    normal = np.sqrt(-2.0 * log(unit(w0))) * cos(2.0 * np.pi * unit(w1))
    y, b = normal * normal, abs(b)
    near = b + y / (2.0 * a) + np.sqrt(y * b / a + y * y / (4.0 * a * a))
    if unit(w2) * (near + b) <= near:
        return a / (a + near)
    return a * near / (a * near + b * b)


def wait(seed, path, count, clock):
    """Exponential of mean 1: how much a Poisson clock's rate adds up to until its jump number `count`."""
    w0, w1, _, _ = draw(np.uint64(seed), np.uint64(path), np.uint64(count), np.uint64(STREAM_WAIT), np.uint64(clock))
    return -log(_wide(w0, w1))


def size(kind, seed, path, count, row):
    """A base variable of a change's sizes, its time number `count`, of the kind that `Hybrid.size_kind` names."""
    w0, w1, w2, w3 = draw(np.uint64(seed), np.uint64(path), np.uint64(count), np.uint64(STREAM_MARK), np.uint64(row))
    u = _wide(w0, w1)
    if kind <= -3:
        return np.sqrt(-2.0 * log(u)) * cos(2.0 * np.pi * _wide(w2, w3))
    if kind <= -2:
        return -log(u)
    if kind <= -1:
        return u
    return 1.0 if u < kind else 0.0


FUNCTIONS = {
    "passage": (passage, (c_double, c_double, c_double, c_uint64, c_int64, c_int64, c_int64)),
    "wait": (wait, (c_double, c_uint64, c_int64, c_int64, c_int64)),
    "size": (size, (c_double, c_double, c_uint64, c_int64, c_int64, c_int64)),
}
"""By name, with signatures of ctypes."""
