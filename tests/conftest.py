"""What all tests share: event loops, seeds, storage, hypothesis profiles, recorded captures, the kernels' cache."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import uvloop
from hypothesis import HealthCheck, settings

from support.search import PROFILE
from support.venue_samples import CONTAINER_IDS, SAMPLE_IDS, tried_samples

if TYPE_CHECKING:
    from support.machine import Machine

REPOSITORY = Path(__file__).resolve().parent.parent

# Children are of this checkout, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY / "daemon"), os.environ.get("PYTHONPATH")]))

# A shell's background job ignores SIGINT, and so would the children to which tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Kernels may be compiled in the middle of a test: no deadlines. A failure prints how to repeat it. What is random is said here:
# hypothesis has a profile of its own where CI is set.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("default", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("search", max_examples=100, derandomize=False, **_COMMON)
settings.register_profile("slice", max_examples=25, derandomize=False, **_COMMON)
settings.register_profile("campaign", max_examples=20_000, derandomize=False, **_COMMON)
settings.load_profile(PROFILE)

# Whatever else is random in a test follows from this. Workers of one run inherit it.
_SEED = os.environ.get("COWBOOK_TEST_SEED") or ("1" if PROFILE == "default" else str(random.randrange(1 << 32)))
os.environ["COWBOOK_TEST_SEED"] = _SEED

# Tests write some gigabytes in all, and wait for the disk most of the time: they write to memory where there is enough of it.
_MEMORY = Path("/dev/shm")
_NEEDED_MEMORY = 2 << 30
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED_MEMORY:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

_LONG = ("system", "soak", "crash")


def pytest_report_header() -> str:
    """How to run the same again."""
    return f"COWBOOK_TEST_SEED={_SEED} HYPOTHESIS_PROFILE={PROFILE}"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have a random search follow from the seed, too."""
    if PROFILE != "default" and config.getoption("hypothesis_seed") is None:
        config.option.hypothesis_seed = _SEED


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out long tests of samples that are not tried, and begin with what takes longest, so that no worker is left alone."""
    tried = tried_samples(_SEED)
    left = [item for item in items if "tests/integration/" in item.nodeid and _sample_of(item) not in (None, *tried)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in {*left}]
    items.sort(key=lambda item: next((place for place, name in enumerate(_LONG) if f"tests/{name}/" in item.nodeid), len(_LONG)))


def _sample_of(item: pytest.Item) -> str | None:
    """The sample of a venue that a test is given."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    sample = parameters.get("sample_id", parameters.get("sample"))
    return sample if sample in SAMPLE_IDS or sample in CONTAINER_IDS else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what takes a seed."""
    if "seed" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.random)


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Any]:  # noqa: ARG001
    """Run each asynchronous test on both kinds of event loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A test that configures the log, as a command does in this process, leaves it as it was."""
    settings = structlog.get_config()
    yield
    structlog.configure(**settings)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed of this test's own; what is random in it follows from it."""
    number = random.Random(f"{_SEED} {request.node.name}").randrange(1 << 30)
    print("seed", number)
    return number


@pytest.fixture(scope="session")
def disk() -> Iterator[Path]:
    """A directory on the disk, for what must not lie in memory."""
    with tempfile.TemporaryDirectory(prefix="cowbook-tests-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """As pytest's own; on the disk for tests that are about storage."""
    if request.node.get_closest_marker("on_disk") is None:
        return tmp_path
    path: Path = request.getfixturevalue("disk") / tmp_path.name
    path.mkdir()
    return path


@pytest.fixture
def shared_data() -> Path:
    """Folder of recorded captures beside the checkout; tests skip where it is not there."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"recorded captures are not there: {path}")
    return path


@pytest.fixture(scope="session")
def installed(disk: Path) -> Path:
    """What `make install` makes, in a directory of its own."""
    from support.machine import install, interpreter

    if interpreter() is None:
        pytest.skip("no Python of this version outside of home directories, which a service may not see")
    tree = disk / "installed"
    tree.mkdir(mode=0o755)
    install(tree)
    return tree


@pytest.fixture(scope="session")
def machine(installed: Path, disk: Path) -> Iterator[Machine]:
    """A machine of its own under systemd, with cowbook installed, its user and directories."""
    from cowbook.kernels.cache import cache_folder
    from support.machine import Machine, why_not

    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Machine(disk / "machine" / "work", installed) as machine:
        machine.run("systemd-sysusers; systemd-tmpfiles --create cowbook.conf; systemctl daemon-reload")
        # The kernels that the tests compiled: the machine that test_operations.py sets up compiles its own.
        kernels = "/var/cache/cowbook/numba/kernels"
        machine.run(f"mkdir -p {kernels}; cp {cache_folder()}/*.kernel {kernels}; chmod -R u=rwX,go= /var/cache/cowbook")
        machine.run("chown -R cowbook:cowbook /var/cache/cowbook")
        yield machine


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a wheel and a source distribution of this checkout."""
    from support.wheel import build

    folder = tmp_path_factory.mktemp("distributions")
    build(folder)
    return folder


@pytest.fixture(scope="session")
def wheel_environment(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment in which the wheel is installed."""
    from support.wheel import install

    folder = tmp_path_factory.mktemp("environment") / "venv"
    (wheel,) = distributions.glob("*.whl")
    install(wheel, folder)
    return folder
