"""All crash campaigns, or a sample of them.

python tests/crash/crash.py [--sample SHARE] [--seed N] [--only CAMPAIGN]

Ends with the number of crash points tried, and of failures; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import sys
import time
from collections.abc import Callable

import structlog
from rich.console import Console
from rich.table import Table

from cowbook.kernels import warm
from crash_states import crash_states, record, recover, scratch
from forked import can_trace
from kill_campaigns import Outcome, Scene, error_campaign, kill_campaign, make_scene, random_campaign


def states_campaign(seed: int, sample: float) -> Outcome:
    """What power cuts leave; it uses threads, and so comes last."""
    rng = random.Random(seed)
    root = scratch()
    outcome = Outcome()
    for name, phase, write in crash_states(record(root / "recorded", seed % 7), rng, 3):
        if rng.random() < sample:
            outcome.tried += 1
            problem = recover(phase, write)
            if problem:
                outcome.failures.append(f"{name}: {problem}")
    shutil.rmtree(root)
    return outcome


def main() -> int:
    """Run the campaigns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=float, default=1.0, help="share of the crash points to try (default: all)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--kills", type=int, default=60, help="of the random campaign")
    parser.add_argument("--only", choices=("kill", "errors", "random", "states"))
    arguments = parser.parse_args()
    seed, sample = arguments.seed, arguments.sample
    print(f"seed {seed}, sample {sample}", flush=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    warm()
    gc.freeze()
    root = scratch()
    scenes: list[Scene] = []

    def scene() -> Scene:
        if not scenes:
            scenes.append(make_scene(root, seed % 11))
        return scenes[0]

    campaigns: dict[str, tuple[str, Callable[[], Outcome]]] = {
        "kill": ("SIGKILL at the N-th system call", lambda: kill_campaign(scene(), seed, sample)),
        "errors": ("EIO and ENOSPC from the N-th system call", lambda: error_campaign(scene(), seed, sample)),
        "random": ("SIGKILL at random moments, two symbols", lambda: random_campaign(seed, arguments.kills)),
        "states": ("power cut between any two operations", lambda: states_campaign(seed, sample)),
    }
    reason = can_trace()
    table = Table("campaign", "crash points tried", "failures", "seconds")
    failures = 0
    for name, (title, campaign) in campaigns.items():
        if arguments.only not in (None, name):
            continue
        if reason and name in ("kill", "errors"):
            table.add_row(title, f"none: {reason}", "", "")
            failures += 1
            continue
        started = time.monotonic()
        outcome = campaign()
        for failure in outcome.failures[:10]:
            print(f"{name}: {failure}", flush=True)
        failures += len(outcome.failures)
        table.add_row(title, str(outcome.tried), str(len(outcome.failures)), f"{time.monotonic() - started:.0f}")
    shutil.rmtree(root, ignore_errors=True)
    Console(width=110).print(table)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
