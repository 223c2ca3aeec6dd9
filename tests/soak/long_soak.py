"""The long soak, as a command: see soaking.py.

python tests/soak/long_soak.py --minutes 10 --seed 1
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Soak, and print what was seen."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from support.soaking import soak

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--directory", type=Path, help="where to work; kept (default: a temporary one, kept on failure)")
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="cowbook-soak-"))
    print(f"soaking for {arguments.minutes} minutes in {directory}, seed {arguments.seed}", flush=True)
    seen = soak(directory, seconds=arguments.minutes * 60, seed=arguments.seed)
    for name, value in seen.items():
        print(f"{name}: {value}")
    if arguments.directory is None:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
