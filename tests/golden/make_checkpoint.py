"""Makes the golden checkpoint of the format that this release writes: `python tests/golden/make_checkpoint.py`.

Run it once for each version of the format, before that is released, and never again: what it has made is read for ever.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).parent
sys.path.insert(0, str(GOLDEN.parent))

from cowbook.checkpoint.manifest import FORMAT_VERSION  # noqa: E402  the path of `support` stands above
from integration.test_golden_checkpoint import LINES, RUN  # noqa: E402
from support.harness import reconstruct  # noqa: E402


def main() -> None:
    """Run over the first lines of the capture, and keep the checkpoint."""
    target = GOLDEN / f"checkpoint-v{FORMAT_VERSION}"
    lines = (GOLDEN / "capture.jsonl").read_bytes().splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        run = reconstruct(directory, {"capture.jsonl": b"".join(lines[:LINES])}, RUN)
        (checkpoint,) = (directory / "state" / "BTCUSDT" / "checkpoints").iterdir()
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(checkpoint, target)
    print(f"{target}: {run.summary.events} events, {len(list(target.iterdir()))} files")


if __name__ == "__main__":
    main()
