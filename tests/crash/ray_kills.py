"""`make ray`: nodes of a Ray cluster on this machine are killed at random. Parts must be those of a run on one machine.

Runs in a network namespace of its own. Needs the extra: pip install -e '.[ray]'.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

CANNOT_RUN = 77
_BAR_SECONDS = 10.0
_INSIDE = "COWBOOK_TEST_INSIDE_NAMESPACE"


def main() -> int:
    """Run the campaign; 1 when a part is unequal or a takeover took too long, 77 when it cannot run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="how many (default: 10)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="of everything that is random")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from support.ray_nodes import in_own_network, why_not_here

    if os.environ.get(_INSIDE) != "yes":
        why = why_not_here()
        if why is not None:
            print(why)
            return CANNOT_RUN
        os.environ[_INSIDE] = "yes"
        command = in_own_network([sys.executable, __file__, f"--kills={arguments.kills}", f"--seed={arguments.seed}"])
        os.execvp(command[0], command)  # noqa: S606 - it is the same program
    from support.ray_campaign import kill_nodes

    print(f"seed {arguments.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="cowbook-ray-", dir="/tmp"))  # Ray's sockets need a short path
    seen = kill_nodes(directory, arguments.kills, arguments.seed)
    slowest = max(seen.takeover_seconds, default=0.0)
    print(f"kills {seen.kills}, parts {seen.parts}, unequal {len(seen.unequal)}, slowest takeover {slowest:.1f} s")
    if seen.unequal or slowest > _BAR_SECONDS:
        print(f"unequal: {seen.unequal}; all is kept in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
