"""Philox4x32-10 against the known answers of Random123 1.14 (tests/kat_vectors), and its counters."""

import numpy as np
import pytest
from numba import njit

from sde.kernels import compiler
from sde.kernels.random import philox

compiler.register()

ONES = 0xFFFFFFFF
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@njit
def compiled_philox(c0, c1, c2, c3, k0, k1):
    return philox.philox(c0, c1, c2, c3, k0, k1)


@njit
def words_of(lanes, seed, first_path, step, stream, block):
    out = np.empty(4 * lanes, np.uint32)
    philox.fill_words(out, lanes, seed, first_path, step, stream, block)
    return out


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers_plain_and_compiled(counter, key, answer):
    arguments = [np.uint64(v) for v in (*counter, *key)]
    assert tuple(int(v) for v in philox.philox(*arguments)) == answer
    assert tuple(int(v) for v in compiled_philox(*arguments)) == answer


def test_lanes_carry_the_scalar_words_of_their_path():
    first, seed = 2**32 - 3, 0x123456789ABCDEF0
    words = words_of(64, seed, first, 17, 2, 5).reshape(4, 64)
    for lane in range(64):
        plain = philox.draw(*(np.uint64(v) for v in (seed, first + lane, 17, 2, 5)))
        assert [int(v) for v in plain] == words[:, lane].tolist()


def test_counter_layout():
    path = (0xABCDEF << 32) | 0x12345678
    plain = philox.draw(*(np.uint64(v) for v in (0x0000000200000001, path, 9, 1, 7)))
    direct = philox.philox(*(np.uint64(v) for v in (7, 9, 0x12345678, (1 << 24) | 0xABCDEF, 1, 2)))
    assert plain == direct


def test_every_argument_changes_the_words():
    base = {"lanes": 64, "seed": 5, "first_path": 0, "step": 3, "stream": 0, "block": 0}
    seen = {words_of(*base.values()).tobytes()}
    for name in ("seed", "step", "stream", "block"):
        seen.add(words_of(*{**base, name: base[name] + 1}.values()).tobytes())
    seen.add(words_of(*{**base, "first_path": 64}.values()).tobytes())
    assert len(seen) == 6


def test_bits_are_balanced_and_uncorrelated_between_seeds():
    a, b = (words_of(65536, seed, 0, 0, 0, 0) for seed in (1, 2))
    n = 32 * a.size
    for words in (a, b, a ^ b):
        ones = np.unpackbits(words.view(np.uint8)).sum(dtype=np.int64)
        assert abs(ones - n / 2) < 4.5 * np.sqrt(n / 4)
