"""What a command's end means: bad input as clear lines, a defect as its traceback, an interruption as what is saved."""

from __future__ import annotations

import errno
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import typer

from sde.cli.outputs import begun
from sde.cli.terminal import LONGEST, drop, say
from sde.engine import compiling, interruption
from symbolic.errors import InputError, sentences, shown


@dataclass
class Words:
    """What options of all commands say of words for people."""

    quiet: bool = False


words = Words()
DEFECT = 70
"""Exit code of an error of ours, apart from all that mean something (EX_SOFTWARE of sysexits.h)."""


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Bad input ends as clear lines and exit code 2, an interruption as 130 or 143; anything else is a defect and shows
    itself."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        warnings.showwarning = _warned
        asked, begun[:] = interruption.count(), []
        try:
            with interruption.command(), compiling.reporting(not words.quiet):
                code = command(*args, **kwargs)
                sys.stdout.flush()
        except InputError as error:
            say(error, longest=LONGEST)
            code = 2
        except OSError as error:
            said = _file_error(error)
            if said is None:
                traceback.print_exc()
            else:
                say(said, longest=LONGEST)
            code = DEFECT if said is None else 2
        except MemoryError:
            say("run: must fit in memory; got more than there is. Take fewer paths, steps or saves.")
            code = 2
        except Exception:
            traceback.print_exc()
            code = DEFECT
        except KeyboardInterrupt:
            written = (
                "what is there is whole, the rest is not written"
                if begun
                else "nothing was complete yet, nothing was written"
            )
            say(f"interrupted: {written}")
            code = interruption.exit_code() if interruption.count() > asked else 130
        raise typer.Exit(code)

    return run


STREAM = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
"""Reasons of the system for which a stream without a name, so standard output, takes no more."""


def _file_error(error: OSError) -> str | None:
    """What to say of an error that is about a file: ours say it in a sentence, the system's name the file. None for one
    that is a defect."""
    if sentences(str(error)):
        return str(error)
    reason = error.strerror or error
    if error.filename is not None:
        return f"file: must be there and open to this; got {shown(error.filename)} ({reason}). Check the path."
    if error.errno in STREAM:
        drop(sys.stdout)
        return f"output: standard output must be writable; got {reason}. Send it elsewhere."
    return None


def _warned(message: Warning | str, category: type[Warning], *rest: Any) -> None:
    """A warning in a line; of an interruption the command itself speaks."""
    if not issubclass(category, interruption.InterruptedWarning):
        say(f"warning: {message}", longest=LONGEST)
