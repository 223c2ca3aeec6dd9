"""`make crash`: the crash campaigns, and a table of what came of them.

`tried` are points at which something was done, and `starts` the runs after it. `parts` and `MB` were compared with an undisturbed
run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent.parent

CANNOT_RUN = 77

# Before anything is imported that starts threads: what forks must have none.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


def main() -> int:
    """Run the campaigns; 1 when anything failed, 77 when they cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try only every n-th point, from a random one on")
    parser.add_argument("--sample", type=int, metavar="N", help="try N random points of each system call instead")
    parser.add_argument(
        "--kills", type=int, default=60, metavar="N", help="least kills of the campaigns random and rotations (default: 60)"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="of everything that is random")
    parser.add_argument(
        "--only",
        choices=("kill", "sources", "venues", "errors", "partition", "random", "objects", "rotations", "states"),
        help="only this campaign; objects, which takes hours, runs only so",
    )
    parser.add_argument("--point", metavar="NAME", help="only the point of this name, as a failure prints it")
    arguments = parser.parse_args()
    os.environ |= _ENVIRONMENT
    sys.path.insert(0, str(_REPOSITORY / "tests"))
    from support import zygote
    from support.campaigns import CAMPAIGNS, Options
    from support.crash_states import states_campaign
    from support.object_campaign import objects
    from support.partition_campaign import partition
    from support.rotation_campaign import rotations
    from support.scenario import CampaignError
    from support.source_campaign import sources

    problem = zygote.strace_problem()
    if problem is not None:
        print(problem, file=sys.stderr)
        return CANNOT_RUN
    zygote.prepare()
    print("seed", arguments.seed, flush=True)
    options = Options(arguments.seed, arguments.every, arguments.sample, arguments.point, arguments.kills)
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="cowbook-crash-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        # The last one runs workers in this process: with their threads, nothing could be forked any more.
        campaigns = {
            **CAMPAIGNS,
            "sources": sources,
            "objects": objects,
            "partition": partition,
            "rotations": rotations,
            "states": states_campaign,
        }
        chosen = [arguments.only] if arguments.only is not None else [name for name in campaigns if name != "objects"]
        results = [campaigns[name](root / name, options) for name in campaigns if name in chosen]
    except CampaignError as error:  # before anything was tried
        print(f"{error}\n  kept: {root}")
        return 1
    if options.point is not None and not any(result.tried for result in results):
        print(f"there is no such point with seed {options.seed}: {options.point}")
        return 1
    titles = f"{'starts':>7} {'parts':>9} {'MB':>8} {'wrong bytes':>12}"
    print(f"{'campaign':10} {'tried':>7} {'failures':>9} {titles} {'seconds':>8}")
    for result in results:
        tally = result.tally
        compared = f"{tally.starts:7} {tally.parts:9} {tally.compared_bytes / 1e6:8.1f} {tally.wrong_bytes:12}"
        print(f"{result.name:10} {result.tried:7} {result.failures:9} {compared} {result.seconds:8.1f}")
        for note, count in sorted(result.notes.items()):
            print(f"    {count:6} {note}")
    if any(result.failures for result in results):
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
