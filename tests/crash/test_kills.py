"""Real processes, really killed: a slice of the campaigns. `make crash` has all of them."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forked import can_trace

_SHARES = {"kill": 0.05, "errors": 0.02, "random": 1.0}


@pytest.mark.parametrize("campaign", _SHARES)
def test_slice(campaign: str) -> None:
    """No failure, and enough tried."""
    reason = can_trace()
    if reason and campaign != "random":
        pytest.skip(reason)
    seed = random.randrange(1 << 30)
    folder = Path(__file__).parent
    command = [
        sys.executable,
        str(folder / "crash.py"),
        "--only",
        campaign,
        "--sample",
        str(_SHARES[campaign]),
        "--seed",
        str(seed),
    ]
    environment = os.environ | {"PYTHONPATH": str(folder.parent)}
    result = subprocess.run(
        [*command, "--kills", "15"], capture_output=True, text=True, env=environment, timeout=400, check=False
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    tried, failures = (int(number) for number in re.findall(r"│ +(\d+) +│ +(\d+) +│ +\d+ +│", result.stdout)[0])
    assert failures == 0
    assert tried >= 10
