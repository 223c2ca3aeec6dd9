"""Memory is bounded, whatever comes: small slices of the inputs that `make bounds` makes in full."""

from __future__ import annotations

import pytest

from support.bounds import LIMIT_BYTES, run_case


@pytest.mark.parametrize(
    ("name", "scale", "error"),
    [
        pytest.param("junk", 0.01, "", id="junk_lines"),
        pytest.param("bomb", 0.05, "would take", id="parquet_bomb"),
        pytest.param("zeros", 0.02, "", id="zeros_in_gzip"),
        pytest.param("files", 0.005, "", id="tiny_files"),
        pytest.param("days", 0.02, "", id="days"),
    ],
)
def test_hostile_inputs_take_little_memory(name: str, scale: float, error: str) -> None:
    """Each is read, or refused with what to do, and the process lives to say so."""
    found = run_case(name, scale)
    assert found.peak_bytes < LIMIT_BYTES
    assert error in found.error
    assert found.exit_code in (0, 1, 78)
