"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.commands import FROM_FILE, GOOD, ROWS


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C from the start; tests of interruptions mean the ordinary handler."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = (
    "symbolic/test_layers.py::test_tiles_do_not_change_a_bit",
    "symbolic/test_layers.py::test_runs_in_either_layout_agree[full batch]",
    "symbolic/test_layers.py::test_runs_in_either_layout_agree[wide]",
    "symbolic/test_layers.py::test_text_and_compiled_sweep_are_the_naive_sum[tanh, three layers",
    "sde/test_zarr.py::test_a_store_holds_what_a_file_does[float32]",
    "sde/test_stops.py::test_stops_of_discrete_sgd",
    "sde/test_verify.py::test_the_time_that_an_equilibrium_needs_is_enough_and_not_far_too_much",
    "sde/test_verify.py::test_isotropic_matrix_factorisation_aligns_and_gradient_descent_does_not",
    "sde/test_turning.py::test_the_forecast_lies_inside_sgd_s_band_where_noise_turns_it",
    "sde/test_train.py::test_pathwise_identity_over_ten_thousand_steps[0.0-tucker-factorization]",
    "sde/test_train.py::test_pathwise_identity_over_ten_thousand_steps[0.0-deep-linear]",
    "sde/test_expectation.py::test_the_error_is_what_was_asked[square-20]",
    "sde/test_comparison.py::test_weak_orders_are_one_and_two[two-by-two-C_1]",
    "test_notebooks.py::test_fresh_run_says_the_same[broken_symmetry]",
    "test_notebooks.py::test_fresh_run_says_the_same[router]",
    "test_notebooks.py::test_fresh_run_says_the_same[net_norms]",
    "test_notebooks.py::test_fresh_run_says_the_same[edge_of_stability]",
    "test_notebooks.py::test_fresh_run_says_the_same[factorisation]",
    "cases/test_kills.py::test_case_c6_kills_at_random_moments[train-3]",
    "cases/test_kills.py::test_case_c6_kills_at_random_moments[simulate-3]",
)
"""What the suite leaves to `make slow`, beside what is marked where it stands, so that it ends within ten minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long ones."""
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(LONG):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kernel cache for one test; the normal cache serves every other test."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("NOETHERFLOW_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "train.csv").write_text(ROWS)
    (tmp_path / "file.toml").write_text(FROM_FILE)
    return tmp_path
