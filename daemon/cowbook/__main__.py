"""`python -m cowbook`."""

from __future__ import annotations

import sys

from cowbook.entry import main

if __name__ == "__main__":  # not in the processes that compile
    sys.exit(main())
