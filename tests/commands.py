"""The command line as the tests call it: in this process, in a folder of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import xarray as xr
from typer.testing import CliRunner, Result

from sde.cli.commands import app

GOOD = """
[parameters]
u = []
w = []
[data]
x = { law = "normal", mean = 0, std = 1 }
e = { law = "normal", mean = 0, std = 0.5, shape = [] }
[loss]
where = { y = "x + e" }
expression = "(u*w*x - y)**2"
[sgd]
learning_rate = 0.01
[run]
start = { u = 1.2, w = 0.6 }
time = 1.0
paths = 8
save_at = 3
observables = { C = "u**2 - w**2", v = "[u, w]" }
"""
ROWS = "a,b,label\n1,2,0\n3,5,2\n5,2,2\n2,1,1\n"
FROM_FILE = """
[parameters]
W = [2]
v = []
[data]
file = "train.csv"
inputs = ["a", "b"]
targets = ["label"]
standardize = true
[loss]
expression = "(v*(W@x) - y)**2"
[run]
start = { W = [0.3, 0.2], v = 0.5 }
time = 1.0
paths = 20
"""
STATISTICS = ["mean", "std", "sem", "min", "max", "q05", "q25", "q50", "q75", "q95"]
COMMAND = Path(sys.executable).with_name("noetherflow")


def run(*arguments: object) -> Result:
    """The command in this process; a defect's exception is raised here."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def record(*arguments: object) -> dict:
    result = run(*arguments, "--json", "-")
    assert result.exit_code in (0, 1, 3), result.stderr
    return json.loads(result.stdout)


def opened(path: Path | str) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf") as data:
        return data.load()
