"""Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011).

A draw is a pure function of (seed; path, step, stream, draw block): nothing is carried along, so a path's
numbers do not depend on how paths are grouped into lanes, blocks, threads or machines. One counter yields
four 32-bit words.

Counter words: 0 draw block, 1 step, 2 low 32 bits of the path, 3 stream << 24 | bits 32..55 of the path. Key:
the 64-bit seed. Words are carried in uint64 with their upper half zero: a 32 x 32 -> 64 bit product is then
one vector instruction.
"""

import numpy as np

from ..options import inlined, inner

STREAM_NOISE, STREAM_SAMPLES, STREAM_START = 0, 1, 2
STREAM_RESTART, STREAM_CROSSING, STREAM_WAIT, STREAM_MARK, STREAM_TREE = 3, 4, 5, 6, 7
"""Of steps begun anew within one of the grid's, of crossings between steps, of waits for jumps and of their sizes, and
of the middles of halved steps."""

MASK = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
PATH_MASK = np.uint64(0xFFFFFF)
STREAM_SHIFT = np.uint64(24)
MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds on counter (c0..c3) under key (k0, k1), all uint64 below 2**32; four words of the same kind.

    Runs as plain Python on NumPy scalars or arrays too.
    """
    for _ in range(10):
        p0 = MULTIPLIER_0 * c0
        p1 = MULTIPLIER_1 * c2
        c0 = (p1 >> HALF) ^ c1 ^ k0
        c1 = p1 & MASK
        c2 = (p0 >> HALF) ^ c3 ^ k1
        c3 = p0 & MASK
        k0 = (k0 + WEYL_0) & MASK
        k1 = (k1 + WEYL_1) & MASK
    return c0, c1, c2, c3


@inlined
def draw(seed, path, step, stream, block):
    """The four words of one draw block; every argument uint64 (path < 2**56, step and block < 2**32)."""
    top = (stream << STREAM_SHIFT) | ((path >> HALF) & PATH_MASK)
    return philox(block & MASK, step & MASK, path & MASK, top, seed & MASK, seed >> HALF)


@inner
def fill_words(words, lanes, seed, first_path, step, stream, block):
    """Fill `words` (4 * lanes, uint32; word j of lane i at j * lanes + i) with one draw block for paths
    first_path + i.
    """
    for i in range(lanes):
        path = np.uint64(first_path) + np.uint64(i)
        w0, w1, w2, w3 = draw(np.uint64(seed), path, np.uint64(step), np.uint64(stream), np.uint64(block))
        words[i] = np.uint32(w0)
        words[lanes + i] = np.uint32(w1)
        words[2 * lanes + i] = np.uint32(w2)
        words[3 * lanes + i] = np.uint32(w3)
