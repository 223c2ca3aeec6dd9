"""The page around a picture: one file, which needs nothing else."""

from __future__ import annotations

from html import escape

from cowbook.plain.counting import counted
from cowbook.plain.escaping import escaped
from cowbook.plain.messages import NONE
from cowbook.plot.depth_map import DepthMap
from cowbook.query.times import iso

_SHOWN_GAPS = 200

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:100rem;padding:1rem;color:#1a1a1a;background:#fff}
figure{margin:0;overflow-x:auto}
svg{width:100%;min-width:44rem;height:auto}
table{border-collapse:collapse;margin:.5rem 0}
th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}
"""


def make_page(depth: DepthMap, picture: str) -> str:
    """The page with the picture, which is SVG text. It loads nothing and runs no script."""
    symbol = escape(escaped(depth.symbol))
    span = f"{iso(int(depth.edges[0]))} to {iso(int(depth.edges[-1]))}"
    synced = 100 * float(depth.is_synced.mean())
    gaps = [
        f"<tr><td>{iso(int(time))}</td><td>{'unknown' if missing == NONE else f'{missing:,}'}</td></tr>"
        for time, missing in zip(depth.gaps.times[:_SHOWN_GAPS], depth.gaps.missing, strict=False)
    ]
    more = len(depth.gaps.times) - len(gaps)
    table = f"<table><tr><th>gap at</th><th>missing ids</th></tr>{''.join(gaps)}</table>" if gaps else "<p>No gaps.</p>"
    svg = picture[picture.index("<svg") :]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{symbol}: depth</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{symbol}</h1>
<p>{span}, UTC. Synced in {synced:.2f} % of the columns of the picture; {counted(len(depth.gaps.times), "gap")};
{counted(len(depth.failed), "failed comparison")}.</p>
<figure role="img" aria-label="Depth of {symbol} over time and price, with trades, gaps and unknown depth">{svg}</figure>
<p>Colour is the sum of sizes in a row of prices at the end of a column of time. Hatched: nobody showed which levels are there;
those in colour have changed since. Grey: nothing proves that the book follows the exchange's. White: known, and no level.</p>
<h2>Gaps</h2>
{table}
{f"<p>and {more:,} more</p>" if more > 0 else ""}
</body>
</html>
"""
