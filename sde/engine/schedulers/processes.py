"""Processes of this machine, each on its own: where one dies, it alone is replaced, and only what it ran is lost.

They are begun anew rather than forked, and know nothing of the caller's `__main__`: a script needs no guard, and no
thread or lock of the caller's is copied. They live until the caller ends.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock
from typing import Any

from sde.kernels import target

BEGIN = "import sys, json; sys.path[:] = json.loads(sys.argv[1])"
BEGIN += "; from sde.engine.schedulers.processes import serve; serve(int(sys.argv[2]), json.loads(sys.argv[3]))"
ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
"""A process takes one core."""


class WorkerDied(RuntimeError):
    """A process ended before it had answered."""


class _Process:
    """One process, begun when it is first asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def ask(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """What fn(*args) gives there, or raises. Raises WorkerDied."""
        message = pickle.dumps((fn, args), protocol=pickle.HIGHEST_PROTOCOL)
        if self._process is None or self._process.poll() is not None:
            self._begin()
        assert self._pipe is not None and self._process is not None
        try:
            self._pipe.send_bytes(message)
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            self.end()
            raise WorkerDied(f"the process that ran it ended ({self._process.wait()})") from None
        worked, value = pickle.loads(answer)
        if not worked:
            raise value
        return value

    def _begin(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            arguments = json.dumps(sys.path), str(theirs.fileno()), json.dumps(target.settings())
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", BEGIN, *arguments],  # of the folder it is called in it takes no module
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**ALONE, **os.environ},
                process_group=0,  # Ctrl-C is the caller's alone
            )
        self._pipe = ours

    def end(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()


class Processes:
    """An `Executor` of so many processes."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._threads = ThreadPoolExecutor(workers)
        self._free: SimpleQueue[_Process] = SimpleQueue()
        self._busy, self._lock = set[_Process](), Lock()
        for _ in range(workers):
            self._free.put(_Process())

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """As `concurrent.futures.Executor.submit`."""
        return self._threads.submit(self._run, fn, args)

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        process = self._free.get()
        with self._lock:
            self._busy.add(process)
        try:
            return process.ask(fn, args)
        finally:
            with self._lock:
                self._busy.discard(process)
            self._free.put(process)

    def abandon(self) -> None:
        """End what is running; the processes are replaced when they are needed."""
        with self._lock:
            for process in self._busy:
                process.end()

    def close(self) -> None:
        """End all processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.abandon()
        while not self._free.empty():
            self._free.get().end()


@cache
def processes(workers: int) -> Processes:
    """Those of the calling process, so many."""
    made, maker = Processes(workers), os.getpid()
    atexit.register(lambda: os.getpid() == maker and made.close())
    return made


def serve(handle: int, compiler: dict[str, Any]) -> None:
    """Answer what comes until the caller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target.adopt(compiler)
    with Connection(handle) as pipe:
        while True:
            try:
                fn, args = pickle.loads(pipe.recv_bytes())
            except EOFError:
                return
            try:
                answer = True, fn(*args)
            except Exception as error:
                answer = False, error
            try:
                data = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                data = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
            pipe.send_bytes(data)
