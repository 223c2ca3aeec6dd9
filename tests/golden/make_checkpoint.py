"""Makes the golden checkpoint and log of the formats that this release writes: `python tests/golden/make_checkpoint.py`.

Run it once for each version of a format, before that is released, and never again: what it has made is read for ever. So it makes
only what there is not.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).parent
sys.path.insert(0, str(GOLDEN.parent))

from cowbook.checkpoint.commit_log import LOG_VERSION  # noqa: E402  the path of `support` stands above
from cowbook.checkpoint.manifest import FORMAT_VERSION  # noqa: E402
from integration.test_golden_checkpoint import LINES, RUN  # noqa: E402
from support.harness import reconstruct  # noqa: E402


def main() -> None:
    """Run over the first lines of the capture, and keep the checkpoint."""
    targets = {GOLDEN / f"checkpoint-v{FORMAT_VERSION}": "checkpoints/1", GOLDEN / f"state-log-v{LOG_VERSION}": "."}
    lines = (GOLDEN / "capture.jsonl").read_bytes().splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        run = reconstruct(directory, {"capture.jsonl": b"".join(lines[:LINES])}, RUN)
        for target, source in targets.items():
            if not target.exists():
                shutil.copytree(directory / "state" / "BTCUSDT" / source, target, ignore=shutil.ignore_patterns("LOCK"))
                print(f"{target}: {run.summary.events} events")


if __name__ == "__main__":
    main()
