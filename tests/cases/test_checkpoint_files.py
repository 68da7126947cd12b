"""C6: a checkpoint whose digest is right and whose state is not is one line that names the file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sde import resume
from sde.engine import checkpoint
from tests.cases.half_runs import KINDS, Half, every_half


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Half]]:
    with every_half(tmp_path_factory) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
def test_case_c6_a_state_as_it_was_saved_goes_on(kind: str, halves: dict[str, Half]) -> None:
    half = halves[kind]
    half.path.write_bytes(half.data)
    assert half.goes_on() is None
    checkpoint.write(half.path, half.header, half.state)
    assert half.path.read_bytes() == half.data, "the same bytes for the same state"
    assert half.goes_on() is None


def changes(state: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """What may be wrong with a state, array by array."""
    yield "all of it missing", {}
    yield "one more", {**state, "more": np.zeros(3)}
    yield "one more part", {**state, **{k.replace("total", "part31"): v for k, v in state.items() if "total" in k}}
    for name, array in state.items():
        rest = {k: v for k, v in state.items() if k != name}
        yield f"{name} missing", rest
        yield f"{name} renamed", {**rest, f"{name}x": array}
        yield f"{name} with an axis more", {**state, name: array[None]}
        yield f"{name} of text", {**state, name: np.array(["text"])}
        yield (
            f"{name} longer",
            {**state, name: np.zeros((*array.shape[:-1], array.shape[-1] + 1) if array.ndim else 2, array.dtype)},
        )
        other = np.float32 if array.dtype.kind == "f" else np.float64
        yield f"{name} of {other.__name__}", {**state, name: array.astype(other)}
        yield f"{name} of other integers", {**state, name: np.zeros(array.shape, np.int16)}
        if array.ndim > 1 and array.shape[0] != array.shape[-1] and array.size:
            yield f"{name} turned", {**state, name: np.ascontiguousarray(array.T)}
        if array.dtype.kind in "iu" and array.size:
            for value in (np.iinfo(array.dtype).max, np.iinfo(array.dtype).min):
                touched = array.copy()
                touched.flat[-1] = value
                if (touched != array).any() and not (name.endswith("own_steps") and value > 0):
                    yield f"{name} with {value}", {**state, name: touched}


@pytest.mark.parametrize("kind", KINDS)
def test_case_c6_every_array_of_a_state_is_checked(kind: str, halves: dict[str, Half]) -> None:
    half = halves[kind]
    tried = 0
    for what, state in changes(half.state):
        try:
            checkpoint.write(half.path, half.header, state)
        except ValueError:
            continue
        said = half.goes_on()
        assert said is not None and "as it was written" in said, what
        tried += 1
    assert tried > 100


def counted(state: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Counts that are right one by one and do not fit together: each of these gave other numbers."""
    done = np.unpackbits(state["done"])
    for bit in range(len(done)):
        turned = done.copy()
        turned[bit] ^= 1
        yield f"chunk {bit}", {**state, "done": np.packbits(turned)}
    for by in (-1, 1, 5):
        yield f"next by {by}", {**state, "next": state["next"] + by}
    for name in state:
        if name.endswith(".size"):
            yield f"{name} paths", {**state, name: state[name] + np.array([256, 0])}
            yield f"{name} lost", {**state, name: state[name] + np.array([0, 1])}
        if name.endswith(".table"):
            table = state[name].copy()
            table[0, 0] += 1
            yield name, {**state, name: table}
            yield f"{name} below", {**state, name: -state[name]}
        if name.endswith((".moments", ".event_moments")) and state[name].size:
            for column, value in ((0, 0.5), (0, -1), (0, np.nan), (0, 1e9), (2, -1.0), (3, np.inf)):
                cells = state[name].copy()
                if cells[0, 0, 0] > 0 or column == 0:
                    cells[0, 0, column] = value
                    yield f"{name} {column} {value}", {**state, name: cells}


@pytest.mark.parametrize("kind", KINDS)
def test_case_c6_counts_agree_with_one_another(kind: str, halves: dict[str, Half]) -> None:
    half = halves[kind]
    for what, state in counted(half.state):
        checkpoint.write(half.path, half.header, state)
        said = half.goes_on()
        assert said is not None and "as it was written" in said, what


ARRAYS = st.sampled_from(["<f8", "<f4", "<i8", "|u1", "|b1", "<i2"]).flatmap(
    lambda kind: st.lists(st.integers(0, 4), max_size=4).map(lambda shape: np.zeros(shape, kind))
)


COUNTS = ("hits", "exploded", "histogram0", "table", "own_steps", "dead", "hit", "row")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_case_c6_states_and_headers_of_any_kind(data: st.DataObject, halves: dict[str, Half]) -> None:
    half = halves[data.draw(st.sampled_from(list(KINDS)))]
    state, header = dict(half.state), dict(half.header)
    for _ in range(data.draw(st.integers(0, 3))):
        name = data.draw(st.sampled_from(sorted(state)))
        how = data.draw(st.integers(0, 4))
        array = state.pop(name)
        if how == 0:
            state[data.draw(st.sampled_from(sorted(state)))] = array
        elif how == 1:
            state[name] = data.draw(ARRAYS)
        elif how == 2:
            state[name] = array.reshape(-1)
        elif how == 3 and array.size:
            state[name] = array.copy()
            state[name].flat[data.draw(st.integers(0, array.size - 1))] = data.draw(st.sampled_from([0, 1, 255]))
            if array.dtype.kind == "f" or name.endswith(
                COUNTS
            ):  # another number of the same kind is another state, which no check can tell
                del state[name]
    for _ in range(data.draw(st.integers(0, 2))):
        header[data.draw(st.sampled_from(sorted(header)))] = data.draw(JSON)
    checkpoint.write(half.path, header, state)
    untouched = state.keys() == half.state.keys() and all(
        state[k].dtype == v.dtype and np.array_equal(state[k], v, equal_nan=v.dtype.kind == "f")
        for k, v in half.state.items()
    )
    said = half.goes_on() if untouched or data.draw(st.booleans()) else None
    if untouched and header == half.header:
        assert said is None
    with pytest.raises((OSError, ValueError), match=r"^[^\n]*$"):
        resume(half.path)
