"""Kills under rotation: a service follows several venues, whose files rotate by several schemes and are compressed in place.

The process is killed at any moment, suspended over rotations, reloaded and asked for checkpoints; files go on rotating while it
is down. At last the parts must be those of one undisturbed run over the same records in one file each.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from support.campaigns import Options, Result
from support.harness import read_parts
from support.rotations import NAMINGS, File, Naming, Writer
from support.scenario import CampaignError
from support.soaking import Daemon, run_once
from support.venue_samples import LINES, make_events, records_of

_FOLLOWED = {
    "binance": "numbers shifted by logrotate",
    "kraken-v1": "dates",
    "okx": "archives in a list before the live file",
    "coinbase": "numbers counted up",
    "deribit": "numbers shifted before an extension",
}
"""Samples of records, with the scheme by which each rotates. Coinbase's records have nothing that would show a wrong order."""

_LINES_PER_KILL = 150
_TOOLS = (("gzip", "-q", "-1"), ("zstd", "-q", "--rm"))


class RotatingFiles(Writer):
    """As `Writer`, but archives are compressed by gzip(1) and zstd(1), in their own time."""

    def __init__(self, folder: Path, naming: Naming, rng: random.Random, source: Iterator[bytes]) -> None:
        folder.mkdir(parents=True)
        self._running: list[tuple[File, str, subprocess.Popen[bytes]]] = []
        super().__init__(folder, naming, rng, source=source)

    def compress(self, file: File) -> None:
        """Begin to compress an archive."""
        busy = [other for other, _, _ in self._running]
        if file.path is None or file is self.files[-1] or file.path.suffix in (".gz", ".zst") or file in busy:
            return
        tool = self._rng.choice([tool for tool in _TOOLS if shutil.which(tool[0])])
        process = subprocess.Popen([*tool, str(file.path)])
        self._running.append((file, ".gz" if tool[0] == "gzip" else ".zst", process))

    def rotate(self) -> None:
        """As `Writer.rotate`, once nothing is being compressed any more: logrotate waits for that, too."""
        self.finish()
        super().rotate()

    def finish(self) -> None:
        """Wait for what is being compressed."""
        for file, suffix, process in self._running:
            assert file.path is not None
            if process.wait() != 0:
                raise CampaignError(f"{process.args!r} ended with {process.returncode}")
            file.path = file.path.with_name(file.path.name + suffix)
        self._running.clear()


def rotations(root: Path, options: Options) -> Result:
    """SIGKILL at any moment, under rotation by five schemes, compression in place, suspensions and reloads."""
    result = Result("rotations")
    started = time.monotonic()
    rng = random.Random(options.seed)
    root.mkdir(parents=True)
    count = 1_000 + _LINES_PER_KILL * options.kills
    writers = {}
    for sample_id, naming in _FOLLOWED.items():
        wrap = LINES[sample_id][3]
        lines = (wrap(event, record) + b"\n" for event, record in records_of(sample_id, make_events(options.seed % 1000, count)))
        writers[sample_id] = RotatingFiles(root / "input" / sample_id, NAMINGS[naming], rng, lines)
        writers[sample_id].append(20)
        if len(NAMINGS[naming].patterns) > 1:  # a glob without a match would be waited for
            writers[sample_id].rotate()
    paths = {
        sample_id: [f"{root}/input/{sample_id}/{pattern}" for pattern in NAMINGS[naming].patterns]
        for sample_id, naming in _FOLLOWED.items()
    }
    config = _configure(root / "cowbook.toml", paths, follow=True)
    daemon = Daemon(config, 0, root / "log")
    try:
        while result.tried < options.kills:
            _disturb(daemon, list(writers.values()), config, rng, result)
            result.tried += 1
        _settle(writers)
        time.sleep(3.0)
        daemon.end(signal.SIGTERM)
        run_once(config)
        _compare(root, writers, result)
    except (CampaignError, SystemExit) as error:
        result.failures += 1
        again = f"python tests/crash/crash.py --only rotations --seed {options.seed} --kills {options.kills}"
        print(f"\nFAILED: rotations: {error}\n  kept: {root}\n  again: {again}\n")
    finally:
        daemon.kill()
        for writer in writers.values():
            writer.finish()
    result.notes["rotations of files"] = sum(len(writer.files) - 1 for writer in writers.values())
    result.seconds = time.monotonic() - started
    return result


def _disturb(daemon: Daemon, writers: list[RotatingFiles], config: Path, rng: random.Random, result: Result) -> None:
    """Let it run for a while, under all that may happen, then kill it; files go on meanwhile."""
    end = time.monotonic() + rng.choice((0.3, 1.5, 3.0, 4.0)) * rng.uniform(0.7, 1.3)  # it needs a second or two to begin
    while time.monotonic() < end:
        _write(writers, rng)
        daemon.check()
        what = rng.random()
        if what < 0.08:
            daemon.send(signal.SIGSTOP)
            for _ in range(rng.randrange(8)):
                _write(writers, rng)
            daemon.send(signal.SIGCONT)
            result.notes["suspensions"] += 1
        elif what < 0.14:
            level = rng.choice(("info", "debug"))
            config.write_text(config.read_text().replace('level = "info"', f'level = "{level}"'))
            daemon.send(signal.SIGHUP)
            result.notes["reloads"] += 1
        elif what < 0.25:
            daemon.send(signal.SIGUSR1)
            result.notes["checkpoints asked for"] += 1
        time.sleep(rng.uniform(0.0, 0.3))
    daemon.end(signal.SIGKILL)
    for _ in range(rng.choice((0, 0, 2, 10))):
        _write(writers, rng)
    daemon.start()


def _write(writers: list[RotatingFiles], rng: random.Random) -> None:
    writer = rng.choice(writers)
    what = rng.random()
    if what < 0.25:
        writer.rotate()
    elif what < 0.4 and len(writer.files) > 1:
        writer.compress(rng.choice(writer.files[:-1]))
    else:
        writer.append(rng.randrange(60), half=rng.random() < 0.3)


def _settle(writers: dict[str, RotatingFiles]) -> None:
    for writer in writers.values():
        writer.end_line()
        writer.finish()


def _compare(root: Path, writers: dict[str, RotatingFiles], result: Result) -> None:
    """Raises CampaignError if a symbol has failed, or a part is not that of an undisturbed run."""
    failed = [line for line in (root / "log").read_text(errors="replace").splitlines() if "symbol failed" in line]
    if failed:
        raise CampaignError(f"{len(failed)} times a symbol has failed, the first: {failed[0][:500]}")
    whole = {}
    for sample_id, writer in writers.items():
        path = root / f"{sample_id}.jsonl"
        path.write_bytes(writer.written)
        whole[sample_id] = [str(path)]
    (root / "reference").mkdir()
    run_once(_configure(root / "reference" / "cowbook.toml", whole, follow=False))
    parts, right = read_parts(root / "data"), read_parts(root / "reference" / "data")
    result.notes["parts"] = len(right)
    different = sorted(name for name in parts.keys() | right.keys() if parts.get(name) != right.get(name))
    if different:
        raise CampaignError(f"{len(different)} of {len(right)} parts differ, the first: {different[0]}")


def _configure(path: Path, paths: dict[str, list[str]], *, follow: bool) -> Path:
    tables = "".join(
        f'[[symbol]]\nid = "{sample_id}"\nname = "{LINES[sample_id][1]}"\nformat = "{LINES[sample_id][0]}"\n'
        f'paths = {json.dumps(files)}\nfollow = {json.dumps(follow)}\nrotate_wait = "200ms"\n'
        for sample_id, files in paths.items()
    )
    path.write_text(
        '[http]\nlisten = ""\n[log]\nlevel = "info"\nformat = "json"\n'
        '[checkpoint]\nevery = "300ms"\nevery_events = 400\nmin_pause = "0s"\nretain = 2\n'
        f'[output]\npart_events = 2000\npart_interval = "15min"\nbook_levels = 5\n{tables}'
    )
    return path
