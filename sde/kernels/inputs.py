"""Fill the input rows of one block for one step, per driver (see `drivers`)."""

import numpy as np

from .calls import call_accumulate, call_fill
from .options import inlined, inner
from .philox import MASK, draw
from .philox import STREAM_NOISE as NOISE
from .philox import STREAM_SAMPLES as SAMPLES

GROUP = 4
UNIFORM_BLOCKS = 0x40000000
INDEX_BLOCKS = 0x80000000
RETRY_BLOCKS = 0xC0000000


@inlined
def per_block(rows):
    """How many rows of normals or uniforms one draw block fills: 4 in float32, 2 in float64."""
    return 16 // rows.itemsize


@inner
def fill_mean(n, mean, lanes):
    for k in range(len(mean)):
        row = n[k * lanes : (k + 1) * lanes]
        fill(row, mean[k], lanes)


@inner
def copy(target, source, count):
    for i in range(count):
        target[i] = source[i]


@inner
def fill(row, value, count):
    for i in range(count):
        row[i] = value


@inlined
def combine(out, offset, matrix, base, at, stride, factor, lanes):
    """Rows of out = offset + factor * matrix @ rows of `base`, which begin `stride` entries apart from `at` on."""
    for k in range(len(offset)):
        row = out[k * lanes : (k + 1) * lanes]
        value = offset[k]
        first, last = matrix.start[k], matrix.start[k + 1]
        if first == last:
            fill(row, value, lanes)
        for j in range(first, last):
            c = factor * matrix.value[j]
            here = at + matrix.column[j] * stride
            source = base[here : here + lanes]
            if j == first:
                for i in range(lanes):
                    row[i] = value + c * source[i]
            else:
                for i in range(lanes):
                    row[i] += c * source[i]


@inlined
def draw_normals(space, rows, lanes, seed, first_path, step, stream, block):
    """Rows of standard normals into space.normal."""
    call_fill(space.fillers.normals, space.normal, space.words, rows, lanes, seed, first_path, step, stream, block)


@inlined
def fill_gaussian(n, driver, scale, space, lanes, seed, first_path, step, fresh):
    """n = mean + scale * factor @ normals; a step made of `batch` finer ones takes theirs, one after another.

    Normal j of a step is number step % G of draw block j of counter step step // G, G the normals of a block: none is
    thrown away, and it is the same whatever the number of channels, so that schemes of any width follow one path. A
    group's rows stay in space.normal, so only its first step, or a `fresh` call's, draws.
    """
    channels, fine, group = driver.channels, driver.batch, per_block(n)
    gathered = group * channels * lanes
    at, stride = np.int64(0), group * lanes
    for i in range(fine):
        finer = fine * step + i
        at = (finer % group) * lanes
        if at == 0 or (fresh and i == 0):
            draw_normals(space, group * channels, lanes, seed, first_path, finer // group, NOISE, 0)
        if fine > 1:
            for j in range(channels):
                copy(space.normal[gathered + (i * channels + j) * lanes :], space.normal[at + j * stride :], lanes)
    if fine > 1:
        at, stride = gathered, lanes
    combine(n, driver.mean, driver.factor, space.normal, at, stride, scale, lanes)


@inner
def unbiased_index(word, bound, seed, path, step, sample):
    """Exactly uniform integer in [0, bound) from a 32-bit word, by Lemire's method (ACM TOMACS 2019).

    The product's low half must reach 2**32 mod bound; else fresh words are tried, from counters of this
    sample alone.
    """
    product = np.uint64(word) * np.uint64(bound)
    if (product & MASK) < np.uint64(bound):
        floor = np.uint64(0x100000000) % np.uint64(bound)
        attempt = 0
        while (product & MASK) < floor:
            block = np.uint64(RETRY_BLOCKS + 16 * sample + attempt % 16)
            fresh = draw(np.uint64(seed), np.uint64(path), np.uint64(step), np.uint64(SAMPLES), block)
            product = fresh[(attempt // 16) % 4] * np.uint64(bound)
            attempt += 1
    return np.int64(product >> np.uint64(32))


@inner
def fill_indices(driver, space, lanes, seed, first_path, step):
    """index[s * lanes + i] = table row of sample s in lane i.

    Without replacement: Floyd's algorithm (Bentley and Floyd, CACM 1987), an exactly uniform subset. stamp (N
    + 1,) int64 marks the rows taken by the current lane; its last entry counts lanes.
    """
    rows, batch, index, stamp = len(driver.table), driver.batch, space.index, space.stamp
    words = space.words
    for s in range(batch):
        if s % 4 == 0:
            call_fill(
                space.fillers.words,
                space.w,
                words,
                0,
                lanes,
                seed,
                first_path,
                step,
                SAMPLES,
                INDEX_BLOCKS + s // 4,
            )
        bound = rows if driver.replacement else rows - batch + s + 1
        at = (s % 4) * lanes
        for i in range(lanes):
            index[s * lanes + i] = unbiased_index(words[at + i], bound, seed, first_path + i, step, s)
    if not driver.replacement:
        for i in range(lanes):
            stamp[rows] += 1
            mark = stamp[rows]
            for s in range(batch):
                chosen = index[s * lanes + i]
                if stamp[chosen] == mark:
                    chosen = rows - batch + s
                    index[s * lanes + i] = chosen
                stamp[chosen] = mark


@inner
def fill_base(driver, space, lanes, seed, first_path, step, first_sample, samples):
    """Base variables of `samples` consecutive samples; a group of four normals or uniforms wastes no draw."""
    per, uniform = per_block(space.normal), space.uniform
    count = driver.normals
    draw_normals(space, samples * count, lanes, seed, first_path, step, SAMPLES, first_sample * count // per)
    count = len(driver.chance)
    block = UNIFORM_BLOCKS + first_sample * count // per
    call_fill(
        space.fillers.uniforms,
        uniform,
        space.words,
        samples * count,
        lanes,
        seed,
        first_path,
        step,
        SAMPLES,
        block,
    )
    for r in range(samples * count):
        q = driver.chance[r % count]
        row = uniform[r * lanes : (r + 1) * lanes]
        if q >= 0:
            for i in range(lanes):
                row[i] = 1.0 if row[i] < q else 0.0


@inner
def fill_sampled(n, x, p, address, driver, space, lanes, seed, first_path, step):
    """n = mean over the minibatch of f(x, z)."""
    fill(n, n.dtype.type(0), len(n))
    z, w = space.z, space.w
    one = n.dtype.type(1)
    fill(w, one / n.dtype.type(driver.batch), lanes)
    rows, drawn = len(driver.table), len(driver.location)
    if rows > 0:
        fill_indices(driver, space, lanes, seed, first_path, step)
    normals, uniforms = driver.normals, len(driver.chance)
    for s in range(driver.batch):
        for c in range(len(driver.table_rows)):
            row = z[driver.table_rows[c] * lanes : (driver.table_rows[c] + 1) * lanes]
            for i in range(lanes):
                row[i] = driver.table[space.index[s * lanes + i], c]
        if drawn > 0:
            g = s % GROUP
            if g == 0:
                samples = min(GROUP, driver.batch - s)
                fill_base(driver, space, lanes, seed, first_path, step, s, samples)
            base = space.base
            copy(base, space.normal[g * normals * lanes :], normals * lanes)
            copy(base[normals * lanes :], space.uniform[g * uniforms * lanes :], uniforms * lanes)
            combine(space.drawn, driver.location, driver.mixing, base, 0, lanes, one, lanes)
            for c in range(drawn):
                copy(z[driver.law_rows[c] * lanes :], space.drawn[c * lanes :], lanes)
        call_accumulate(address, x, z, w, n, p)


@inner
def fill_weighted(n, x, p, address, driver, scale, space, lanes, seed, first_path, step):
    """n = sum over all rows i of (wbar_i + scale (xi_i - mean xi) / sqrt(N)) f(x, z_i). The normals are drawn
    twice, not stored.
    """
    fill(n, n.dtype.type(0), len(n))
    rows = len(driver.table)
    xi, mean, z, w = space.normal, space.base, space.z, space.w
    real = n.dtype.type
    size = real(scale / np.sqrt(rows))
    if scale != 0:
        fill(mean, real(0), lanes)
        for s in range(rows):
            g = s % GROUP
            if g == 0:
                block = s // per_block(n)
                draw_normals(space, min(GROUP, rows - s), lanes, seed, first_path, step, NOISE, block)
            for i in range(lanes):
                mean[i] += xi[g * lanes + i]
        for i in range(lanes):
            mean[i] = mean[i] / real(rows)
    for s in range(rows):
        weight = driver.weights[s]
        g = s % GROUP
        if scale != 0:
            if g == 0:
                block = s // per_block(n)
                draw_normals(space, min(GROUP, rows - s), lanes, seed, first_path, step, NOISE, block)
            for i in range(lanes):
                w[i] = weight + size * (xi[g * lanes + i] - mean[i])
        elif s == 0 or weight != driver.weights[s - 1]:
            fill(w, weight, lanes)
        for c in range(len(driver.table_rows)):
            row = z[driver.table_rows[c] * lanes : (driver.table_rows[c] + 1) * lanes]
            fill(row, driver.table[s, c], lanes)
        call_accumulate(address, x, z, w, n, p)
