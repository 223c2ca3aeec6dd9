"""Compiled kernels on disk: a file for each, named after everything that is in it.

The name holds a digest of the kernel's code and all that is frozen in it (kernels/frozen.py), the types of its arguments, the
processor, and the versions of Python and numba. So there is no index to keep, nothing is ever stale, two checkouts and several
processes share one folder, and an interrupted compilation is simply continued.

What lies there is code. The folder is used only where nobody else could have put something into it; without one, kernels are
compiled anew by each process.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pickle
import pwd
import stat
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from cowbook.kernels.frozen import digest_of

_KEEP_DAYS = 60
_DAY_SECONDS = 86_400
_DIGEST_BYTES = 32


def cache_folder() -> Path:
    """Where compiled kernels are kept, whether it can be used or not.

    It is `kernels` below `$NUMBA_CACHE_DIR`, systemd's `$CACHE_DIRECTORY`, or `$XDG_CACHE_HOME/cowbook` (`~/.cache/cowbook`).
    """
    named = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    root = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cowbook"
    return (root / "kernels").absolute()


@cache
def _why_untrusted(folder: Path) -> str | None:
    """Why a folder cannot be used; None when it can. It is made if need be."""
    try:
        for path in (*reversed(folder.parents), folder):  # none is open to others, whatever the umask is
            path.mkdir(mode=0o700, exist_ok=True)
        folder = folder.resolve(strict=True)
        for path in (folder, *folder.parents):
            why = _who_else_writes(path, path.stat(), is_parent=path != folder)
            if why is not None:
                return why
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"{folder} cannot be written to"
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


def why_not_cached() -> str | None:
    """Why compiled kernels cannot be kept, for a person; None when they can."""
    return _why_untrusted(cache_folder())


def _who_else_writes(path: Path, status: os.stat_result, *, is_parent: bool) -> str | None:
    """Whether others than this user and root could put something there, or something else in its place."""
    if status.st_uid not in (0, os.getuid()):
        return f"{path} belongs to user {status.st_uid}"
    if is_parent and status.st_mode & stat.S_ISVTX:
        return None  # others may add to it, as to /tmp, but touch nothing of ours
    if status.st_mode & stat.S_IWOTH:
        return f"{path} can be written to by everyone"
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        return f"{path} can be written to by group {status.st_gid}"
    return None


def _is_own_group(group_id: int) -> bool:
    """Whether a group has nobody but this user in it, as many systems make one for each user."""
    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    return user.pw_gid == group_id and group.gr_name == user.pw_name and not {*group.gr_mem} - {user.pw_name}


class KernelCache(_Cache):  # type: ignore[misc] # numba has no types
    """The compiled versions of one kernel, as numba's dispatcher asks for them and hands them over."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self.enable()

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(cache_folder())

    def enable(self) -> None:
        """Look into the folder, and keep what was compiled."""
        self._enabled = True

    def disable(self) -> None:
        """Do neither."""
        self._enabled = False

    def flush(self) -> None:
        """Remove nothing: what has become useless is not found any more, and goes after a while."""

    def path_of(self, signature: Any, codegen: Any) -> Path:
        """The file of the version with these types of arguments, whether it is there or not."""
        function = self._dispatcher.py_func
        digest = hashlib.sha256()
        for text in (
            digest_of(function),
            repr(sorted(self._dispatcher.targetoptions.items())),
            *(described(kind) for kind in signature),
            repr(codegen.magic_tuple()),
            numba.__version__,
            str(sys.implementation.cache_tag),
        ):
            digest.update(text.encode() + b"\0")
        module = function.__module__.partition(".")[2]
        return cache_folder() / f"{module}.{function.__name__}-{digest.hexdigest()[:32]}.kernel"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled version for these types of arguments; None when it is not there, or damaged."""
        target_context.refresh()
        if not self._enabled or why_not_cached() is not None:
            return None
        path = self.path_of(signature, target_context.codegen())
        try:
            content = path.read_bytes()
            if time.time() - path.stat().st_mtime > _DAY_SECONDS:
                os.utime(path)  # it is in use
        except OSError:
            return None
        payload = content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != content[:_DIGEST_BYTES]:
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(payload))  # noqa: S301, SLF001 - nobody else writes there

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled version. Where it cannot be kept, the next process compiles it again."""
        if not self._enabled or why_not_cached() is not None:
            return
        payload = dumps(result._reduce())  # noqa: SLF001 - as numba's own cache does
        path = self.path_of(signature, result.codegen)
        try:
            _remove_old(path.parent)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False) as file:
                file.write(hashlib.sha256(payload).digest() + payload)
            Path(file.name).replace(path)
        except OSError:
            return


@cache
def _remove_old(folder: Path) -> None:
    """Once in a process: remove what nobody has used for long."""
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > _KEEP_DAYS * _DAY_SECONDS:
            path.unlink(missing_ok=True)


def described(kind: Any) -> str:
    """An argument's type in full: the name that numba gives a named tuple leaves out its fields, and what they stand for."""
    if isinstance(kind, types.NamedTuple | types.NamedUniTuple):
        members = zip(kind.fields, kind.types, strict=True)
        return f"{kind.instance_class.__name__}({', '.join(f'{name}: {described(member)}' for name, member in members)})"
    return repr(kind)
