"""C6, the other way round: what a run really saved is never refused, whatever its paths did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sympy as sp

from sde import SDE, simulate
from sde.engine import chunk
from sde.engine.checkpoint import Checkpoint
from sde.storage.files import fingerprint

X, Y = sp.symbols("X Y", real=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("drift", "keep", "scheme"),
    [
        (sp.log(X), "statistics", "adaptive-euler"),
        (sp.sqrt(Y), "paths", "euler-maruyama"),
        *(
            pytest.param(drift, keep, scheme, marks=pytest.mark.slow)
            for drift in (sp.log(X), sp.sqrt(Y))
            for keep in ("statistics", "paths")
            for scheme in ("adaptive-euler", "euler-maruyama")
            if (drift, keep, scheme)
            not in ((sp.log(X), "statistics", "adaptive-euler"), (sp.sqrt(Y), "paths", "euler-maruyama"))
        ),
    ],
)
def test_case_c6_lost_paths_and_values_that_are_no_numbers(
    drift: Any, keep: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most paths are lost, by a bound or a logarithm; an observable is NaN on paths that live."""
    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
    monkeypatch.setattr(Checkpoint, "due", lambda _: True)
    settings: dict[str, Any] = {
        "start": {X: 1.0, Y: 0.1},
        "time": 1.0,
        "dt": 0.05,
        "paths": 5000,
        "seed": 2,
        "bound": 3.0,
        "save_at": [0.0, 0.3, 0.7],
        "observables": {"l": sp.log(Y)},
        "events": {"up": X - 1.5},
        "covariance": ["X", "Y"],
        "histogram": {"X": [0.0, 1.0, 2.0]},
        "scheme": scheme,
        "keep": keep,
    }
    problem, begun, advance = (
        SDE([X, Y], [drift, -Y], [[1, 0], [0, sp.Rational(3, 10)]]),
        list[int](),
        chunk.advance,
    )

    def stopping(*arguments: Any) -> Any:
        begun.append(0)
        if len(begun) == 6:
            raise RuntimeError("power cut")
        return advance(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(chunk, "advance", stopping)
        with pytest.raises(RuntimeError, match="power cut"):
            simulate(problem, checkpoint=tmp_path / "c", threads=1, **settings)
    whole = simulate(problem, **settings)
    assert whole.attrs["exploded_paths"] > 500
    for _ in range(2):
        assert fingerprint(simulate(problem, checkpoint=tmp_path / "c", **settings)) == fingerprint(whole)
