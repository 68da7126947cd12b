"""Dask: its client's executor, or one by the scheduler's address. Needs `pip install noetherflow[distributed]`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from symbolic.errors import InputError

ANSWER, WORKERS = 5, 4
"""Seconds that a scheduler has to answer in, and to have a worker."""


@contextmanager
def connected(named: Any) -> Iterator[tuple[Any, int]]:
    """The executor of a client, of an address, or ("dask") of this process's client; and how many threads its workers
    have. What is there is left alive. Raises InputError."""
    try:
        from distributed import Client, get_client
    except ImportError as error:
        rule, do = "Dask must be installed", "pip install 'noetherflow[distributed]'."
        raise InputError.of("executor", rule, named, do) from error
    if named == "dask":
        try:
            client = get_client()
        except ValueError as error:
            do = "Make one first, distributed.Client(address), or give the scheduler's address."
            raise InputError.of("executor", "'dask' is this process's client", named, do) from error
        yield _executor(client, named)
    elif not isinstance(named, str):
        yield _executor(named, named)
    else:
        address = named if "://" in named else f"tcp://{named}"
        try:
            client = Client(address, timeout=ANSWER, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            do = "Give the address that `dask scheduler` has told, e.g. 'tcp://10.0.0.1:8786'."
            rule = f"a Dask scheduler must answer within {ANSWER} s"
            raise InputError.of("executor", rule, named, do) from error
        with client:
            yield _executor(client, named)


def _executor(client: Any, named: Any) -> tuple[Any, int]:
    try:
        client.wait_for_workers(1, timeout=WORKERS)
        workers = sum(client.nthreads().values())
    except Exception as error:
        if not isinstance(error, (TimeoutError, OSError)):
            rule, do = "its client must be open", "Give one that is."
        else:
            rule, do = "must have a worker", "Begin one: dask worker ADDRESS."
        raise InputError.of("executor", rule, named, do) from error
    return client.get_executor(), workers
