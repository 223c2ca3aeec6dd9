"""Plain data between the book, the sink and checkpoints: a frame, which is the whole book at the moment of a cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FRAME_ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            "event_index",  # of the first event of the cut that begins
            "ts_event",  # of the last applied depth message
            "update_id",
            "synced",
            # How many levels of each side are known, counted from the best.
            "bids_known",
            "asks_known",
            # The levels: bids best first, then asks best first.
            "level_start",  # 0
            "bid_count",
            "ask_count",
        )
    ]
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The book at the moment of a cut, which belongs to the cut that begins there (docs/rules.md, section 3)."""

    row: npt.NDArray[np.void]  # FRAME_ROW, (1,)
    prices: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of levels, each of which is a row of the output."""
        return len(self.prices)
