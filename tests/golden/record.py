"""`python -m tests.golden.record [NAME ...]` writes down today's results as the golden ones: all, or those named.

A commit that does so says which results changed, and why. Bits hold on one kind of processor with one compiler, so a
hash stands under the mark of what made it; the numbers hold everywhere.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding

from symbolic import derive
from symbolic.library import LIBRARY
from tests.golden.runs import NUMBERS, RUNS, taken

FOLDER = Path(__file__).parent
RESULTS, THEORIES = FOLDER / "results.json", FOLDER / "theories.json"


def mark() -> str:
    """What the bits of a result depend on besides our own code."""
    features = ",".join(sorted(k for k, v in dict(binding.get_host_cpu_features()).items() if v))
    processor = hashlib.sha256(f"{binding.get_host_cpu_name()} {features}".encode()).hexdigest()[:8]
    return f"{binding.get_host_cpu_name()} {processor}, numba {numba.__version__}"


def theory(name: str) -> dict[str, Any]:
    """The derivation of a library loss as JSON gives it."""
    return json.loads(json.dumps(derive(LIBRARY[name].build()).to_json()))


def main(chosen: list[str]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in chosen or [*RUNS, *NUMBERS]:
        if name in LIBRARY:
            continue
        found = taken(name)
        hashes = (
            results.get(name, {}).get("hashes", {}) if results.get(name, {}).get("numbers") == found["numbers"] else {}
        )
        results[name] = {"hashes": {**hashes, mark(): found["hash"]}, "numbers": found["numbers"]}
    RESULTS.write_text(json.dumps({name: results[name] for name in (*RUNS, *NUMBERS)}, indent=1) + "\n")
    theories = json.loads(THEORIES.read_text()) if THEORIES.exists() else {}
    theories |= {name: theory(name) for name in chosen or LIBRARY if name in LIBRARY}
    THEORIES.write_text(
        json.dumps({name: theories[name] for name in LIBRARY}, indent=None, separators=(",", ":")) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
