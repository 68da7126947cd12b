"""Commands on the folder of compiled code: cache, warm."""

from __future__ import annotations

from typing import Annotated

import typer

from sde.cli.arguments import Json, SpecArguments
from sde.cli.guard import guarded, words
from sde.cli.outputs import checked, emit
from sde.cli.terminal import line, say, shown_for
from sde.settings import SETTINGS


@guarded
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what it holds; runs then compile anew.")] = False,
    json_: Json = None,
) -> int:
    """The kernel cache: its folder ($NOETHERFLOW_CACHE), files and size."""
    from sde.storage import module_cache

    checked((), json_)
    found = module_cache.clear() if clear else module_cache.usage()
    described = {"folder": str(found.folder), "files": found.files, "bytes": found.bytes}
    described |= {"limit": module_cache.LIMIT, "cleared": clear}
    kept = "removed" if clear else f"of at most {module_cache.LIMIT / 2**20:.0f} MiB"
    say(
        f"{line(found.folder)}: {found.files} files, {found.bytes / 2**20:.1f} MiB {kept}",
        shown_for(json_, quiet=words.quiet),
    )
    emit(json_, described)
    return 0


@guarded
def warm(
    specs: SpecArguments = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64; both when left out.")] = None,
    json_: Json = None,
) -> int:
    """Compile ahead, into the kernel cache: the loops, the statistics, and what simulate and train run of each SPEC."""
    from sde.api.warming import warm as warmed
    from sde.spec.problem_file import spec_for
    from sde.storage import module_cache

    read, done, shown = [spec_for(spec) for spec in specs or ()], [], shown_for(json_, quiet=words.quiet)
    checked([path for spec in read for path in spec.inputs], json_)
    dtypes = ("float32", "float64") if dtype is None else (SETTINGS["dtype"].read(dtype, "--dtype"),)
    for one in warmed(read, dtypes):
        done.append(vars(one))
        say(f"{one.what}: {one.compiled} compiled, {one.kept} there, {one.seconds:.1f} s", shown)
    found = module_cache.usage()
    say(f"{line(found.folder)}: {found.files} files, {found.bytes / 2**20:.1f} MiB", shown)
    emit(json_, {"folder": str(found.folder), "files": found.files, "bytes": found.bytes, "warmed": done})
    return 0


def add_to(app: typer.Typer) -> None:
    """Make them commands of an app."""
    app.command()(cache)
    app.command(short_help="Compile ahead what runs need.")(warm)
