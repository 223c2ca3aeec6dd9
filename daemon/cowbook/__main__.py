"""`python -m cowbook`."""

from __future__ import annotations

import sys

from cowbook.cli.main import main

sys.exit(main())
