"""Peak memory of inputs that were made to take all of it, each in a process of its own. Exits with 1 if one is over the limit.

python tests/bench/bounds.py [--scale 1.0] [NAME…]

NAME is one of the cases of tests/support/bounds.py. `--scale` makes every input smaller or larger.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.bounds import CASES, LIMIT_BYTES, run_case


def main() -> int:
    """Run the cases, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    # Kernels are compiled beforehand; compiling takes memory of its own.
    subprocess.run([sys.executable, "-m", "cowbook", "warm", "--format", "binance", "--format", "cryptolake"], check=True)
    is_over = False
    for name in arguments.names or CASES:
        found = run_case(name, arguments.scale)
        is_over |= found.peak_bytes > LIMIT_BYTES
        print(
            f"{name}: {found.input_bytes:,} bytes in {found.files:,} files: peak resident set {found.peak_bytes / 1e6:.0f} MB "
            f"(limit {LIMIT_BYTES / 1e6:.0f} MB), {found.seconds:.1f} s, exit code {found.exit_code}"
            + (f": {found.error}" if found.error else ""),
            flush=True,
        )
    return int(is_over)


if __name__ == "__main__":
    sys.exit(main())
