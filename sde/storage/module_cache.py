"""The kernel cache: one private folder for emitted text and machine code, from which nothing is loaded that this user
did not write.

$NOETHERFLOW_CACHE names the folder, else it is the user's cache folder. It belongs to this user alone (mode 0700) and
is no link; one that does not, or that cannot be made, is left alone for a temporary folder, with a warning. Machine
code is sealed: a file begins with a keyed hash (BLAKE2b) of its name and contents, the key being a file of mode 0600
beside it; one that is cut, changed, renamed, linked or another user's is removed unread and made anew. Files are
written whole, and those used longest ago removed beyond LIMIT bytes. Any number of processes may share the folder: what
one removes, another compiles again.
"""

from __future__ import annotations

import atexit
import hashlib
import hmac
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import platformdirs

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LIMIT = 2**30
"""Bytes that the folder may hold."""
VARIABLE = "NOETHERFLOW_CACHE"
MAGIC = b"noetherflow machine code 1\n"
KEY, KEY_BYTES, SEAL_BYTES = "key", 32, 32
LARGEST = 2**28
STALE = 3600.0
"""Seconds after which a file's time of use is renewed, and what a killed writer left is removed."""
_unseen: dict[tuple[Path, int], tuple[int, int]] = {}
"""By folder and LIMIT: the files and the bytes that may be written before the folder is looked through again."""
_OURS = re.compile(r"key|__pycache__|noetherflow_[0-9a-f]+\.py|[\w.-]+\.nb[ic]|\.[\w.-]+\.part")
_POSIX = os.name != "nt" and os.open in os.supports_dir_fd


class CacheWarning(UserWarning):
    """The kernel cache cannot be used as it was asked for."""


class Untrusted(OSError):
    """A folder or file that others could have written."""


@dataclass(frozen=True)
class Usage:
    """What a folder holds: files of ours and their bytes."""

    folder: Path
    files: int
    bytes: int


def chosen() -> Path | None:
    """The folder that is asked for; None where there is neither the variable nor a home."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(os.path.abspath(named))
    try:
        path = platformdirs.user_cache_path("noetherflow") / "kernels"
    except (RuntimeError, KeyError):
        return None
    return path if path.is_absolute() else None


def folder() -> Path:
    """The folder in use, made if need be: the one asked for, or a temporary one of this process, told once."""
    return _usable(chosen())


@lru_cache(maxsize=32)
def _usable(path: Path | None) -> Path:
    try:
        if path is None:
            raise Untrusted("no home folder")
        _make(path)
        return path
    except OSError as error:
        made = Path(tempfile.mkdtemp(prefix="noetherflow-"))
        maker = os.getpid()
        atexit.register(lambda: os.getpid() == maker and shutil.rmtree(made, ignore_errors=True))
        warnings.warn(
            f"kernel cache: needs a folder of your own that nobody else can write to; got {path}"
            f" ({error.strerror or error}). All is compiled anew for this run; set {VARIABLE} to such a folder, or mend"
            " this one (chmod 700).",
            CacheWarning,
            stacklevel=2,
        )
        return made


def _make(path: Path) -> None:
    """Make the folder, or take one that is there: closed to others, if what it holds is ours only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    with _opened(path) as at:
        if at is not None and stat.S_IMODE(os.fstat(at).st_mode) & 0o077:
            if any(not _OURS.fullmatch(name) for name in os.listdir(at)):
                raise Untrusted("others can read it, and it holds other files")
            os.fchmod(at, 0o700)
    probe = f".{secrets.token_hex(8)}.part"
    with _opened(path) as at:
        os.close(os.open(_at(path, at, probe), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=at))
        os.unlink(_at(path, at, probe), dir_fd=at)


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """A handle of the folder, checked; files are opened relative to it, so that nothing can be put in its place
    meanwhile. None on Windows, where a user's folders are closed to others by their rights."""
    if not _POSIX:
        yield None
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise Untrusted("a link, or no folder") from error
    try:
        _check(os.fstat(handle))
        yield handle
    finally:
        os.close(handle)


def _check(found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise Untrusted(f"it belongs to user {found.st_uid}, this is user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise Untrusted("others can write to it")


def _at(path: Path, at: int | None, name: str) -> str:
    return name if at is not None else str(path / name)


def _read(path: Path, at: int | None, name: str, private: bool = False) -> bytes | None:
    """A file's bytes; None where there is none that can be trusted, what is in its place being removed."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(_at(path, at, name), flags, dir_fd=at)
    except FileNotFoundError:
        return None
    except OSError:
        _remove(path, at, name)
        return None
    with open(handle, "rb") as stream:
        found = os.fstat(handle)
        try:
            if _POSIX:
                _check(found)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > LARGEST:
                raise Untrusted("no file of ours")
            if private and _POSIX and stat.S_IMODE(found.st_mode) & 0o077:
                raise Untrusted("others can read it")
        except Untrusted:
            _remove(path, at, name)
            return None
        data = stream.read()
        if time.time() - found.st_mtime > STALE and os.utime in os.supports_fd:
            os.utime(handle)
    return data


def _remove(path: Path, at: int | None, name: str) -> None:
    with suppress(OSError):
        os.unlink(_at(path, at, name), dir_fd=at)


def _write(path: Path, at: int | None, name: str, data: bytes, replace: bool = True) -> None:
    """Write a file whole, under a name nobody can guess, forced to the disk, then named. replace: take the place of one
    that is there."""
    scratch = f".{name}.{secrets.token_hex(8)}.part"
    here = _at(path, at, scratch)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    handle = os.open(here, flags, 0o600, dir_fd=at)
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(handle)
        if replace:
            os.replace(here, _at(path, at, name), src_dir_fd=at, dst_dir_fd=at)
        else:
            os.link(here, _at(path, at, name), src_dir_fd=at, dst_dir_fd=at)
    finally:
        _remove(path, at, scratch)


def _key(path: Path, at: int | None, make: bool) -> bytes | None:
    found = _read(path, at, KEY, private=True)
    if found is not None and len(found) == KEY_BYTES:
        return found
    if not make:
        return None
    if found is not None:
        _remove(path, at, KEY)
    with suppress(FileExistsError):
        _write(path, at, KEY, secrets.token_bytes(KEY_BYTES), replace=False)
    found = _read(path, at, KEY, private=True)
    return found if found is not None and len(found) == KEY_BYTES else None


def _seal(key: bytes, name: str, data: bytes) -> bytes:
    digest = hashlib.blake2b(name.encode() + b"\0", key=key, digest_size=SEAL_BYTES)
    digest.update(data)
    return digest.digest()


def load(name: str) -> bytes | None:
    """What `save` put under this name, byte by byte; None, and no such file any more, if there is anything else."""
    path = folder()
    with suppress(OSError), _opened(path) as at:
        found = _read(path, at, name)
        if found is None:
            return None
        key, body = _key(path, at, make=False), len(MAGIC) + SEAL_BYTES
        if key is not None and found.startswith(MAGIC):
            data = found[body:]
            if hmac.compare_digest(found[len(MAGIC) : body], _seal(key, name, data)):
                return data
        _remove(path, at, name)
    return None


def save(name: str, data: bytes) -> None:
    """Keep bytes under a name, sealed. A folder that cannot be written to costs the next process its time, not this one
    its run: told once."""
    _keeping(name, data, sealed=True)


def save_text(name: str, text: str) -> Path:
    """Keep a text that is there to be read, as it is; one that differs is replaced. Returns where."""
    path, data = folder(), text.encode()
    with suppress(OSError), _opened(path) as at:
        if _read(path, at, name) == data:
            return path / name
    _keeping(name, data, sealed=False)
    return path / name


@contextmanager
def alone() -> Iterator[None]:
    """One at a time, of all processes that share the folder: what the first compiles the others find."""
    handle = None
    if fcntl is not None:
        with suppress(OSError):
            handle = os.open(folder() / ".compiling.part", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def discard(name: str) -> None:
    """Remove a file."""
    with suppress(OSError), _opened(folder()) as at:
        _remove(folder(), at, name)


def _keeping(name: str, data: bytes, sealed: bool) -> None:
    path = folder()
    try:
        if not os.path.lexists(path):  # removed by hand while this process ran
            _make(path)
        with _opened(path) as at:
            _evict(path, at, len(data))
            if sealed:
                key = _key(path, at, make=True)
                if key is None:
                    raise Untrusted("its key cannot be kept")
                data = MAGIC + _seal(key, name, data) + data
            _write(path, at, name, data)
    except OSError as error:
        _tell(path, error.strerror or str(error))


@lru_cache(maxsize=32)
def _tell(path: Path, reason: str) -> None:
    warnings.warn(
        f"kernel cache: its folder must be writable; got {path} ({reason}). This run goes on, the next will compile"
        f" again; set {VARIABLE} to a folder with room.",
        CacheWarning,
        stacklevel=2,
    )


def _entries(path: Path, at: int | None) -> list[tuple[float, int, str]]:
    """(time of use, bytes, name) of our files."""
    found = []
    for name in os.listdir(path if at is None else at):
        if _OURS.fullmatch(name):
            with suppress(OSError):
                kept = os.stat(_at(path, at, name), dir_fd=at, follow_symlinks=False)
                if not stat.S_ISDIR(kept.st_mode):
                    found.append((kept.st_mtime, kept.st_size, name))
    return sorted(found)


def _evict(path: Path, at: int | None, size: int) -> None:
    """Remove what killed writers left, and beyond LIMIT what was used longest ago. Each file takes a moment to look at:
    who has looked does so again after writing an eighth as many, or a sixteenth of the room that was left."""
    files, room = _unseen.get((path, LIMIT), (0, 0))
    if files > 0 and size <= room:
        _unseen[path, LIMIT] = files - 1, room - size
        return
    entries = _entries(path, at)
    total = size + sum(n for _, n, _ in entries)
    for used, n, name in entries:
        stale = name.endswith(".part") and time.time() - used > STALE
        if stale or (total > LIMIT and name != KEY and not name.endswith(".part")):
            _remove(path, at, name)
            total -= n
    _unseen[path, LIMIT] = len(entries) // 8, (LIMIT - total) // 16


def usage() -> Usage:
    """The folder asked for and what it holds. Raises OSError for one that is not this user's alone."""
    path = _named()
    if not os.path.lexists(path):
        return Usage(path, 0, 0)
    with _trusted(path) as at:
        entries = _entries(path, at)
    return Usage(path, len(entries), sum(n for _, n, _ in entries))


def clear() -> Usage:
    """Remove our files from the folder asked for. Returns what was removed. Raises OSError for one that is not this
    user's alone."""
    before = usage()
    if os.path.lexists(before.folder):
        with _trusted(before.folder) as at:
            for _, _, name in _entries(before.folder, at):
                _remove(before.folder, at, name)
    return before


def _named() -> Path:
    path = chosen()
    if path is None:
        raise OSError(f"kernel cache: needs a folder; got no home (none). Set {VARIABLE}.")
    return path


@contextmanager
def _trusted(path: Path) -> Iterator[int | None]:
    try:
        with _opened(path) as at:
            yield at
    except OSError as error:
        raise OSError(
            f"kernel cache: needs a folder of your own that nobody else can write to; got {path}"
            f" ({error.strerror or error}). Set {VARIABLE} to such a folder."
        ) from error
