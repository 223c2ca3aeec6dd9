"""What all tests share: event loops, hypothesis profiles, recorded captures, the kernels' cache."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from support.machine import Machine

REPOSITORY = Path(__file__).resolve().parent.parent

# Kernels may be compiled in the middle of a test: no deadlines. A failure prints how to repeat it.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("default", max_examples=100, **_COMMON)
settings.register_profile("campaign", max_examples=20_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Any]:  # noqa: ARG001
    """Run each asynchronous test on both kinds of event loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def shared_data() -> Path:
    """Folder of recorded captures beside the checkout; tests skip where it is not there."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"recorded captures are not there: {path}")
    return path


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install` makes, in a directory of its own."""
    from support.machine import install, interpreter

    if interpreter() is None:
        pytest.skip("no Python of this version outside of home directories, which a service may not see")
    tree = tmp_path_factory.mktemp("installed")
    tree.chmod(0o755)
    install(tree)
    return tree


@pytest.fixture(scope="session")
def machine(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine of its own under systemd, with cowbook installed, its user and directories."""
    from support.machine import Machine, why_not

    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Machine(tmp_path_factory.mktemp("machine") / "work", installed) as machine:
        machine.run("systemd-sysusers; systemd-tmpfiles --create cowbook.conf; systemctl daemon-reload")
        yield machine
