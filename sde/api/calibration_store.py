"""A calibration's outcomes as lines of JSON, so that one that was broken off goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from sde.storage.files import check_writable, failing_as, write_text
from sde.verification.calibration import Outcome
from symbolic.errors import InputError

FORMAT = 1
Key = tuple[int, int]
"""Place of a loss, number of a seed."""


class Store:
    """Outcomes and seconds by loss and seed.

    path: of the file, None where nothing is kept; identity: of all that decides them; expected: names of the theories
    of every outcome that there will be. Raises InputError for a file of another calibration, OSError for one that
    cannot be written.
    """

    def __init__(self, path: Path | None, identity: str, expected: Mapping[Key, set[str]]) -> None:
        self._expected = expected
        self.path, self.outcomes, self.seconds = path, dict[Key, Outcome](), dict[Key, float]()
        if path is None:
            return
        check_writable(path, "checkpoint")
        head = {"calibration": identity, "format": FORMAT}
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        if lines and _read(lines[0]) != head:
            raise InputError(
                f"checkpoint: must be of the same losses, settings and version; got {path}, which is not. Name another"
                " file, or remove it."
            )
        for line in lines[1:]:
            self._take(_read(line))
        whole = [json.dumps(head), *(self._line(key) for key in self.outcomes)]
        write_text(path, "".join(f"{line}\n" for line in whole))

    def add(self, key: Key, outcome: Outcome, seconds: float) -> None:
        """Keep one more."""
        self.outcomes[key], self.seconds[key] = outcome, seconds
        if self.path is not None:
            with failing_as(self.path, "checkpoint"), open(self.path, "a", encoding="utf-8") as file:
                file.write(self._line(key) + "\n")

    def _line(self, key: Key) -> str:
        found = self.outcomes[key]
        return json.dumps({"loss": key[0], "seed": key[1], "seconds": self.seconds[key], **vars(found)})

    def _take(self, read: Any) -> None:
        """A line's outcome; one that a kill cut short, or that is none of ours, is made again."""
        try:
            key = int(read["loss"]), int(read["seed"])
            refuted = {str(k): tuple(map(str, v)) for k, v in cast(dict[str, Any], read["refuted"]).items()}
            distances = {str(k): float(v) for k, v in cast(dict[str, Any], read["distances"]).items()}
            found = Outcome(refuted, int(read["supported"]), int(read["hasty"]), distances)
            seconds = float(read["seconds"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return
        if math.isfinite(seconds) and set(refuted) == self._expected.get(key):
            self.outcomes[key], self.seconds[key] = found, seconds


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
