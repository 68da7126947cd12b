"""A Dask cluster of three processes, one of which is killed (kill -9) during a run: the result is that of threads, bit
for bit. Run by `python -m examples.cluster`; needs `pip install 'noetherflow[distributed]'`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from distributed import Client, LocalCluster

from sde import SGD, train
from symbolic import library

RUN: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "steps": 2000, "paths": 200_000, "save_at": 21, "seed": 12}
WORKERS = 3


def hash_of(**where: Any) -> str:
    """The run's result_hash, wherever it is made."""
    return str(train(library.rescaling(), SGD(learning_rate=0.02), **RUN, **where).attrs["result_hash"])


def killer(victims: list[int], after: int) -> Any:
    """Kills the first of some processes once so many path-steps are done."""
    done = 0

    def tick(n: int) -> None:
        nonlocal done
        done += n
        if done >= after and victims:
            victim = victims.pop()
            victims.clear()
            print(f"kill -9 {victim} after {done / (RUN['paths'] * RUN['steps']):.0%} of the path-steps", flush=True)
            os.kill(victim, signal.SIGKILL)

    return tick


def main() -> int:
    """Print both hashes. 0 where they are one, and a worker did die."""
    here = hash_of()
    print(f"threads          {here}", flush=True)
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        processes = list(client.run(os.getpid).values())
        print(f"Dask, {WORKERS} processes: {', '.join(map(str, processes))}", flush=True)
        victims = list(processes)
        there = hash_of(executor=client, progress=killer(victims, RUN["paths"] * RUN["steps"] // 4))
        print(f"Dask, one killed {there}", flush=True)
        client.wait_for_workers(WORKERS)
        left = set(client.run(os.getpid).values())
    died = set(processes) - left
    print(f"{'the same' if here == there else 'OTHERS'}; died: {', '.join(map(str, died)) or 'nobody'}")
    return 0 if here == there and len(died) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
