"""Compiled kernels on disk, one file for each. The file's name is made of everything that its content depends on.

The name holds a digest of the kernel's code and all that is frozen in it (kernels/frozen.py), the types of its arguments, the
processor, and the versions of Python and numba. So there is no index to maintain, no file is ever stale, checkouts and processes
share one folder, and an interrupted compilation continues where it stopped.

The files are code that is executed. The folder is used only if no other user could have put files into it. Otherwise each process
compiles its kernels anew.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pickle
import pwd
import stat
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from cowbook.kernels.frozen import digest_of
from cowbook.kernels.groups import described

_KEEP_DAYS = 60
_DAY_SECONDS = 86_400
_DIGEST_BYTES = 32
_MOST_LINKS = 40  # as in Linux


def cache_folder() -> Path:
    """Returns the folder of compiled kernels, which may be unusable.

    It is `kernels` below `$NUMBA_CACHE_DIR`, systemd's `$CACHE_DIRECTORY`, or `$XDG_CACHE_HOME/cowbook` (`~/.cache/cowbook`).
    A relative `$XDG_CACHE_HOME` or home is ignored, as the XDG specification says.
    """
    named = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if named:
        return (Path(named) / "kernels").absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else _home() / ".cache") / "cowbook" / "kernels"


def _home() -> Path:
    """Returns this user's home; the root folder, where only root may write, if there is none."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("/")
    return home if home.is_absolute() else Path("/")


@cache
def _why_untrusted(folder: Path) -> tuple[Path, str | None]:
    """Returns where a folder really is, and the reason why it cannot be used; None if it can. It is created if need be."""
    try:
        folder, why = _walk_to(folder)
        if why is None and not os.access(folder, os.R_OK | os.X_OK):
            why = f"{folder} cannot be read"
    except (OSError, RuntimeError) as error:
        return folder, str(error)
    return folder, why


def _walk_to(folder: Path) -> tuple[Path, str | None]:
    """Go to a folder from the root, making what is missing. Returns the real path, and the reason why it cannot be trusted.

    Each folder on the way is looked at before anything in it is, without following a link by itself. So whatever was looked at
    stays where it is: nobody else could have replaced it meanwhile. A link counts if it is this user's or root's.
    """
    place = Path(folder.anchor)
    why = _who_else_writes(place, place.lstat(), is_parent=True)
    ahead = [*reversed(folder.parts[1:])]
    links = 0
    while ahead and why is None:
        path = place / ahead.pop()
        if path.name == "..":
            place = place.parent
            continue
        try:
            status = path.lstat()
        except FileNotFoundError:
            path.mkdir(mode=0o700, exist_ok=True)  # keeps others out at any umask
            status = path.lstat()
        if not stat.S_ISLNK(status.st_mode):
            place, why = path, _who_else_writes(path, status, is_parent=bool(ahead))
        elif status.st_uid not in (0, os.getuid()):
            why = f"{path} is a link of user {status.st_uid}"
        else:
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = path.readlink()
            place = Path(target.anchor) if target.is_absolute() else place
            ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return place, why


def why_not_loaded() -> str | None:
    """Returns the reason why no compiled kernel can be loaded, as a text for users; None if those that are there can."""
    return _why_untrusted(cache_folder())[1]


def why_not_cached() -> str | None:
    """Returns the reason why compiled kernels cannot be cached, as a text for users; None if they can.

    Those of a folder that this user may only read, as in a container's image, are loaded all the same.
    """
    folder, why = _why_untrusted(cache_folder())
    if why is None and not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written to"
    return why


def _who_else_writes(path: Path, status: os.stat_result, *, is_parent: bool) -> str | None:
    """Returns who besides this user and root could add files to a folder or replace it, as a text for users; None for nobody."""
    if not stat.S_ISDIR(status.st_mode):
        return f"{path} is not a directory"
    if status.st_uid not in (0, os.getuid()):
        return f"{path} belongs to user {status.st_uid}"
    if is_parent and status.st_mode & stat.S_ISVTX:
        return None  # as in /tmp, others may add files, but not replace ours
    if status.st_mode & stat.S_IWOTH:
        return f"{path} can be written to by everyone"
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        return f"{path} can be written to by group {status.st_gid}"
    return None


def _is_own_group(group_id: int) -> bool:
    """Returns whether a group has no member but this user. Many systems create such a group for each user."""
    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    return user.pw_gid == group_id and group.gr_name == user.pw_name and not {*group.gr_mem} - {user.pw_name}


_HOW_COMPILED = (
    numba.__version__,
    str(sys.implementation.cache_tag),
    repr([getattr(config, name) for name in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")]),
    *(
        hashlib.sha256((Path(__file__).parent / f"{name}.py").read_bytes()).hexdigest()
        for name in ("compiling", "groups", "jit", "signatures")
    ),
)
"""What decides how the same code is compiled."""


class KernelCache(_Cache):  # type: ignore[misc] # numba has no types
    """The compiled versions of one kernel on disk, with the interface that numba's dispatcher uses."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self._names: dict[Any, str] = {}  # of files, by signature: a start asks three times
        self.enable()

    @property
    def cache_path(self) -> str:
        """The folder of compiled kernels."""
        return str(cache_folder())

    def enable(self) -> None:
        """Load versions from the folder, and save compiled ones there."""
        self._enabled = True

    def disable(self) -> None:
        """Neither load nor save."""
        self._enabled = False

    def flush(self) -> None:
        """Does nothing. Files of old code are not found any more, and are removed when nobody has used them for long."""

    def path_of(self, signature: Any, codegen: Any) -> Path:
        """Returns the path of the version for these types of arguments. The file need not exist."""
        name = self._names.get(signature)
        if name is None:
            name = self._names[signature] = self._name_of(signature, codegen)
        # The folder that was looked at, not a link to it, which may lead elsewhere by now.
        return _why_untrusted(cache_folder())[0] / name

    def _name_of(self, signature: Any, codegen: Any) -> str:
        function = self._dispatcher.py_func
        digest = hashlib.sha256()
        for text in (
            digest_of(function),
            repr(sorted(self._dispatcher.targetoptions.items())),
            *(described(kind) for kind in signature),
            repr(codegen.magic_tuple()),
            *_HOW_COMPILED,
        ):
            digest.update(text.encode() + b"\0")
        module = function.__module__.partition(".")[2]
        return f"{module}.{function.__name__}-{digest.hexdigest()[:32]}.kernel"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Load the compiled version for these types of arguments. Returns None if the file is missing or damaged."""
        if not self._enabled or why_not_loaded() is not None:
            return None
        path = self.path_of(signature, target_context.codegen())
        try:
            content = _read_own(path)
        except OSError:
            return None
        payload = content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != content[:_DIGEST_BYTES]:
            return None
        try:
            parts = pickle.loads(payload)  # noqa: S301 - nobody else writes there
        except (AttributeError, ImportError, EOFError, TypeError, pickle.UnpicklingError):
            return None  # a class that it refers to has moved
        # Machine code needs the runtime alone. What a compiler must know of types takes a third of a second, and is loaded by it.
        rtsys.initialize(target_context)
        return CompileResult._rebuild(target_context, *parts)  # noqa: SLF001 - as numba's own cache does

    def save_overload(self, signature: Any, result: Any) -> None:
        """Save a compiled version. If that fails, the next process compiles it again."""
        if not self._enabled or why_not_cached() is not None:
            return
        payload = dumps(result._reduce())  # noqa: SLF001 - as numba's own cache does
        path = self.path_of(signature, result.codegen)
        try:
            _remove_old(path.parent)
            file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False)  # noqa: SIM115
            try:
                with file:
                    file.write(hashlib.sha256(payload).digest() + payload)
                Path(file.name).replace(path)
            finally:
                Path(file.name).unlink(missing_ok=True)
        except OSError:
            return


def _read_own(path: Path) -> bytes:
    """Read a file that nobody else could have written, and mark it as used. Raises OSError, PermissionError for any other file.

    The folder is safe now; it may not have been when the file came into it.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
        status = os.fstat(file.fileno())
        if status.st_uid not in (0, os.getuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EACCES, "others could have written it", str(path))
        if time.time() - status.st_mtime > _DAY_SECONDS:
            with suppress(OSError):
                os.utime(file.fileno())
        return file.read()


@cache
def _remove_old(folder: Path) -> None:
    """Remove files that nobody has used for _KEEP_DAYS, once in a process."""
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > _KEEP_DAYS * _DAY_SECONDS:
            path.unlink(missing_ok=True)
