"""Figures that a worker might have published, for tests of those who read them."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from cowbook.plain.vocabulary import AUDIT_KINDS, OUTCOMES, REASONS
from cowbook.symbol.figures import BookFigures, KnownFigures, MarketFigures, PipelineFigures


def make_pipeline_figures(**changes: Any) -> PipelineFigures:
    """Of a pipeline that has done nothing yet, but for these fields, of the book or of the pipeline."""
    of_book: dict[str, Any] = {field.name: 0 for field in fields(BookFigures)}
    of_book |= {"dead_letters": dict.fromkeys(REASONS, 0), "audits": {kind: dict.fromkeys(OUTCOMES, 0) for kind in AUDIT_KINDS}}
    of_book["market"] = MarketFigures(math.nan, math.nan, math.nan, math.nan, math.nan)
    of_book["known"] = KnownFigures(None, None, bids_whole=False, asks_whole=False, time_total=0, time_best=0, time_grid=0)
    of_book |= {"drift_size_error": 0.0, "synced": False, "last_update_id": None, "newest": None}
    of_pipeline: dict[str, Any] = {"input_bytes": 0, "place": None, "gaps_after_recovery": 0}
    of_pipeline |= {"quiet_rate": math.nan, "persisting_rate": math.nan, "impact": math.nan}
    for name, value in changes.items():
        (of_book if name in of_book else of_pipeline)[name] = value
    return PipelineFigures(book=BookFigures(**of_book), **of_pipeline)
