"""What every scheduler does: chunks of a plan, each of them once, in any order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Protocol

from sde.engine.chunk import Worker
from sde.engine.piece import Piece, PieceRequest
from sde.engine.plan import Plan

Take = Callable[[Piece], None]


class LostChunks(RuntimeError):
    """Chunks that could not be run; all others were."""


class BrokenPoolWarning(UserWarning):
    """A pool of processes takes no more work, as one of them died; the run went on in others."""


class Scheduler(Protocol):
    """workers: how many chunks may be under way at once."""

    @property
    def workers(self) -> int: ...

    def over(
        self, plan: Plan, indices: Iterable[int], take: Take, worker: Worker, wanted: Callable[[], PieceRequest]
    ) -> Generator[bool]:
        """Run the chunks `indices`, begun in this order, until all are or `worker.stop` is set.

        take: gets each result, from whatever thread has it; its rows are worthless afterwards. wanted: what other
        processes are to give, as of now. Yields whenever some chunks are complete: whether others are under way. What a
        chunk raises is raised here, once none runs any more; so it is where the generator is closed. LostChunks comes
        when all others are complete.
        """
        ...
