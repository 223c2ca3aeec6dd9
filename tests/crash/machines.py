"""`make ray`: nodes of a Ray cluster on this machine are killed, and what comes of it is held against a run on one machine.

`kills`: nodes at random. `detach`: drivers come and go. `ends`: the driver, then the head. `check`: nodes that do not fit.
`cut-off`: nodes that come back. `moves`: symbols go from shard to shard. `load`: one goes since its node has most to do.
`objects`: state and output in object storage. `guide`: the page's commands as they stand.
Runs in a network namespace of its own. Needs the extra: pip install -e '.[ray]'.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.ray_campaign import Seen

CANNOT_RUN = 77
_INSIDE = "COWBOOK_TEST_INSIDE_NAMESPACE"


def main() -> int:
    """Run the campaign; 1 when a part is unequal or a takeover took longer than the bar, 77 when it cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="how many (default: 10)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="of everything that is random")
    parser.add_argument(
        "--bar", type=float, metavar="SECONDS", help="fail if a takeover takes longer; for a machine without other work"
    )
    parser.add_argument(
        "--only",
        choices=("kills", "detach", "ends", "cut-off", "check", "moves", "load", "objects", "guide"),
        help="only this campaign",
    )
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from support.ray_nodes import in_own_network, why_not_here

    if os.environ.get(_INSIDE) != "yes":
        why = why_not_here()
        if why is not None:
            print(why)
            return CANNOT_RUN
        os.environ[_INSIDE] = "yes"
        command = in_own_network([sys.executable, *sys.argv, f"--seed={arguments.seed}"])
        os.execvp(command[0], command)  # noqa: S606 - it is the same program
    from support.ray_campaign import check_nodes, cut_off, detach_and_adopt, kill_nodes, kill_the_driver_and_the_head
    from support.ray_guide import follow_the_guide
    from support.ray_moves import even_out_load, move_symbols
    from support.ray_objects import kill_nodes_over_objects

    campaigns: dict[str, Callable[[Path, int], Seen]] = {
        "check": check_nodes,
        "detach": detach_and_adopt,
        "cut-off": cut_off,
        "ends": kill_the_driver_and_the_head,
        "moves": move_symbols,
        "load": even_out_load,
        "objects": kill_nodes_over_objects,
        "guide": follow_the_guide,
        "kills": lambda directory, seed: kill_nodes(directory, arguments.kills, seed),
    }
    print(f"seed {arguments.seed}", flush=True)
    failed = False
    for name, campaign in campaigns.items():
        if arguments.only in (None, name):
            failed |= _run(name, campaign, arguments.seed, arguments.bar)
    return int(failed)


def _run(name: str, campaign: Callable[[Path, int], Seen], seed: int, bar_seconds: float | None) -> bool:
    """Run a campaign, and say what came of it. Returns whether it has failed; its directory is kept then."""
    directory = Path(tempfile.mkdtemp(prefix="cowbook-ray-", dir="/tmp"))  # Ray's sockets need a short path
    seen = campaign(directory, seed)
    slowest = max(seen.takeover_seconds, default=0.0)
    print(f"{name}: kills {seen.kills}, parts {seen.parts}, unequal {len(seen.unequal)}, slowest takeover {slowest:.1f} s")
    if seen.unequal or (bar_seconds is not None and slowest > bar_seconds):
        print(f"unequal: {seen.unequal}; all is kept in {directory}")
        return True
    shutil.rmtree(directory)
    return False


if __name__ == "__main__":
    sys.exit(main())
