"""What tests of mistakes share: a loss, an SDE, and calls that end where a run would begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sympy as sp

import sde.api.level_paths
import sde.api.prepared_run
from sde import SDE, SGD, simulate, train
from symbolic import Loss, Normal, derive
from symbolic.errors import InputError, sentences

X, Y, u, w, x = sp.symbols("X Y u w x", real=True)
VAGUE = {name: sp.Symbol(name) for name in "XYu"}
LOSS = Loss((u * w * x - 1) ** 2, [u, w], {x: Normal(0, 1)})
SET = SGD(0.02)
START: Any = {u: 1.2, w: 0.6}
OU = SDE([X], [-X], [[1]])
THEORY = derive(LOSS)
ANY: Any = None


class Reached(BaseException):
    """All was accepted: a run would begin."""


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise Reached

    monkeypatch.setattr(sde.api.prepared_run, "load", stop)
    monkeypatch.setattr(sde.api.level_paths, "load", stop)


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        make()
    assert sentences(str(caught.value)), str(caught.value)
    return str(caught.value)


def outcome(make: Callable[[], object]) -> str:
    """What is said of bad input; nothing where all is accepted."""
    try:
        make()
    except (InputError, OSError) as error:
        return str(error)
    except Reached:
        pass
    return ""


def run(**changes: Any) -> object:
    return simulate(LOSS, SET, **{"start": START, "time": 1.0, "paths": 4} | changes)


def sgd(**changes: Any) -> object:
    return train(LOSS, SET, **{"start": START, "steps": 10, "paths": 4} | changes)


def flow(**changes: Any) -> object:
    return simulate(OU, **{"start": {X: 1.0}, "time": 1.0, "paths": 4} | changes)
