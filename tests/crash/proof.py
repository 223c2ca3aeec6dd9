"""`make crash-proof`: each fault that was once there is put back, and the campaign that should see it must fail.

Every `faults/NAME.patch` begins with what was wrong, and names in a line `Found by: …` a command of this repository. The command
is run in copies of the checkout: it must succeed in one as it is, and fail within a minute in one with the patch.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

_LIMIT_SECONDS = 60.0
_PATIENCE_SECONDS = 600.0  # for the run without the fault, which must come to its end
_SHOWN = 3000


def main() -> int:
    """Put each fault back; 1 if one is not found."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from support.put_back import FAULTS, command_of, copy_checkout, patches, put_back, run

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="only the fault of this name")
    chosen = patches(parser.parse_args().name)
    if not chosen:
        print(f"no such fault in {FAULTS}")
        return 2
    failures = 0
    with tempfile.TemporaryDirectory(prefix="cowbook-proof-") as name:
        root = Path(name)
        sound = copy_checkout(root / "sound")
        for command in sorted({command_of(patch) for patch in chosen}):
            found = run(command, sound, _PATIENCE_SECONDS)
            print(
                f"{'sound':40} {'nothing found' if found.code == 0 else 'FAILED':14} {found.seconds:6.1f} s  {command}",
                flush=True,
            )
            if found.code != 0:
                failures += 1
                print(found.text[-_SHOWN:])
        for patch in chosen:
            copy = copy_checkout(root / patch.stem)
            put_back(patch, copy)
            found = run(command_of(patch), copy, _LIMIT_SECONDS)
            is_found = found.code == 1  # any other code is no verdict of the campaign
            failures += not is_found
            print(f"{patch.stem:40} {'found' if is_found else 'NOT FOUND':14} {found.seconds:6.1f} s", flush=True)
            if not is_found:
                print(found.text[-_SHOWN:])
            shutil.rmtree(copy)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
