"""Whose folder of compiled kernels is trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cowbook.kernels import cache
from cowbook.kernels.cache import why_not_cached


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the cache's folder, in this process."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    cache._why_untrusted.cache_clear()


def test_the_folder_is_private_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode is 0o700 at any umask."""
    before = os.umask(0)
    try:
        use(tmp_path / "cache", monkeypatch)
        assert why_not_cached() is None
    finally:
        os.umask(before)
    assert (tmp_path / "cache" / "kernels").stat().st_mode & 0o777 == 0o700


def test_the_reason_against_a_folder_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says which folder or file must be changed."""
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o770)
    monkeypatch.setattr(cache, "_is_own_group", lambda _: False)
    use(tmp_path / "cache", monkeypatch)
    assert why_not_cached() == f"{folder} can be written to by group {folder.stat().st_gid}"
    folder.chmod(0o702)
    cache._why_untrusted.cache_clear()
    assert why_not_cached() == f"{folder} can be written to by everyone"
    (tmp_path / "file").write_text("")
    use(tmp_path / "file", monkeypatch)
    assert str(tmp_path / "file") in (why_not_cached() or "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is not used if another user owns it or one of its parents."""
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True)
    os.chown(folder.parent, 65534, -1)
    use(tmp_path / "cache", monkeypatch)
    assert why_not_cached() == f"{folder.parent} belongs to user 65534"


def test_a_link_is_followed_before_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that a link leads to is the one that must be safe."""
    (tmp_path / "open" / "kernels").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernels").symlink_to(tmp_path / "open" / "kernels")
    use(tmp_path / "cache", monkeypatch)
    assert why_not_cached() == f"{tmp_path / 'open'} can be written to by everyone"


def test_without_a_home_there_is_a_reason_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the system does not know still gets kernels, compiled anew each time."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("NUMBA_CACHE_DIR", "CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    assert cache.cache_folder() == Path("/.cache/cowbook/kernels")


def test_a_relative_folder_of_caches_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG specification says: it would be another one in each current directory."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "cowbook" / "kernels"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give links away")
def test_a_link_of_another_user_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lead elsewhere a moment later. Nothing is made behind it."""
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "own")
    os.chown(tmp_path / "link", 65534, -1, follow_symlinks=False)
    use(tmp_path / "link", monkeypatch)
    assert why_not_cached() == f"{tmp_path / 'link'} is a link of user 65534"
    assert not list((tmp_path / "own").iterdir())


def test_links_lead_to_the_real_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative or absolute, one after the other, with `..` in them; a circle is an error."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "first").symlink_to("a/b/../second")
    (tmp_path / "a" / "second").symlink_to(tmp_path / "a" / "b")
    use(tmp_path / "first", monkeypatch)
    assert why_not_cached() is None
    assert cache._why_untrusted(cache.cache_folder())[0] == (tmp_path / "a" / "b" / "kernels").resolve()
    (tmp_path / "circle").symlink_to("circle")
    use(tmp_path / "circle", monkeypatch)
    assert "symbolic links" in (why_not_cached() or "")


def test_nothing_is_made_in_a_folder_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What everyone can write to is refused before anything in it is looked at."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    use(tmp_path / "open" / "cache", monkeypatch)
    assert why_not_cached() == f"{tmp_path / 'open'} can be written to by everyone"
    assert not list((tmp_path / "open").iterdir())


@pytest.mark.parametrize("spoil", ["mode", "owner", "link"])
def test_a_file_that_others_could_have_written_is_not_loaded(tmp_path: Path, spoil: str) -> None:
    """Such a file is as good as missing, even if the folder is safe by now."""
    path = tmp_path / "x.kernel"
    path.write_bytes(b"code")
    assert cache._read_own(path) == b"code"
    if spoil == "mode":
        path.chmod(0o666)
    elif spoil == "link":
        path.rename(tmp_path / "y")
        path.symlink_to("y")
    elif os.getuid() == 0:
        os.chown(path, 65534, -1)
    else:
        pytest.skip("only root can give files away")
    with pytest.raises(OSError, match=r"could have written|symbolic links"):
        cache._read_own(path)


def test_a_folder_that_may_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container's image: what is there is loaded, and only what is missing cannot be kept."""
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True, mode=0o755)
    use(tmp_path / "cache", monkeypatch)
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    assert cache.why_not_loaded() is None
    assert why_not_cached() == f"{folder} cannot be written to"
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    cache._why_untrusted.cache_clear()
    assert cache.why_not_loaded() == why_not_cached() == f"{folder} cannot be read"
