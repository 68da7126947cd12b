"""Rows of a data set are drawn with equal chances, also where a plain product of a word would favour some."""

import numpy as np
from numba import njit
from scipy import stats

from sde.kernels import compiler, minibatch
from sde.kernels.random import philox

compiler.register()


def test_index_is_unbiased_where_a_plain_product_is_not():
    bound = 3 * 2**30

    @njit
    def residues(count):
        out = np.zeros(3, np.int64)
        for k in range(count):
            word = philox.draw(np.uint64(1), np.uint64(k), np.uint64(0), np.uint64(1), np.uint64(0))[0]
            out[minibatch.unbiased_index(word, bound, 1, k, 0, 0) % 3] += 1
        return out

    assert stats.chisquare(residues(90_000)).pvalue > 0.01
