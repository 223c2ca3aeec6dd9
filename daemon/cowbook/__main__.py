"""`python -m cowbook`."""

from __future__ import annotations

import sys

from cowbook.entry import main

sys.exit(main())
