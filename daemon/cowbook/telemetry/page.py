"""The page for people: problems first, then all symbols. The server renders it; a few lines of script put news in its place."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from cowbook.plain.escaping import escaped
from cowbook.telemetry.history import History, SymbolHistory
from cowbook.telemetry.status import TROUBLED, describe_known, problems_of, urgency

_SIGNS = {"failed": "✗", "lost": "✗", "unusable": "✗", "restarting": "↻", "waiting": "…", "starting": "…", "moving": "…"}
"""States are told apart without colour."""
_MOST_PROBLEMS = 50
_UNITS = ((31_536_000, "y"), (86_400, "d"), (3_600, "h"), (60, "min"))
_COLUMNS = (
    *("symbol", "state", "events/s", "last event", "events", "synced", "known", "levels", "gaps", "dead letters", "lag MB"),
    *("restarts", "epoch", "checkpoint", "freeze ms"),
)

STYLE = """
:root{color-scheme:light dark;--bad:#c62828;--odd:#8a6100;--good:#1a7f37;--line:#8884}
@media(prefers-color-scheme:dark){:root{--bad:#ff8a80;--odd:#ffca28;--good:#81c784}}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:110rem}
h1{font-size:1.4rem;margin:0}
h2{font-size:1.1rem}
#problems{border-left:.4rem solid var(--bad);padding:.3rem .8rem;list-style:none;color:var(--bad);overflow-wrap:anywhere}
.bad{color:var(--bad);font-weight:bold}
.odd{color:var(--odd);font-weight:bold}
.good{color:var(--good)}
.wide{overflow-x:auto}
table{border-collapse:collapse}
th,td{padding:.2rem .35rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,td:nth-child(2),th:nth-child(2){text-align:left}
td svg{height:1.2em;width:5rem;vertical-align:middle;margin-left:.4rem}
svg polyline{fill:none;stroke:currentColor;stroke-width:1.5;vector-effect:non-scaling-stroke}
svg rect{fill:currentColor}
#book td,#book th{text-align:right}
#stale{display:none}
.stale #stale{display:block}
"""

SCRIPT = """
"use strict";
const main = document.getElementById("main"), panel = document.getElementById("book");
const source = new EventSource("events");
source.onmessage = event => { main.innerHTML = event.data; document.body.classList.remove("stale"); };
source.onerror = () => document.body.classList.add("stale");
function line(parent, tag, texts) {
  const row = parent.appendChild(document.createElement("tr"));
  for (const text of texts) row.appendChild(document.createElement(tag)).textContent = text;
}
function short(text) { return text.includes(".") ? text.replace(/\\.?0+$/, "") : text; }
async function look() {
  if (!location.hash.startsWith("#book/")) { panel.replaceChildren(); return; }
  const id = location.hash.slice(6), title = document.createElement("h2"), note = document.createElement("p");
  const table = document.createElement("table");
  title.textContent = "Book of " + decodeURIComponent(id);
  try {
    const answer = await fetch("book/" + id + "?levels=10"), book = await answer.json();
    if (!answer.ok) throw new Error(book.error);
    const bid = book.bids[0], ask = book.asks[0];
    const spread = bid && ask ? ", spread " + (Number(ask[0]) - Number(bid[0])).toPrecision(6).replace(/\\.?0+$/, "") : "";
    note.textContent = (book.synced ? "synced" : "not synced: nothing of it is known") + spread
      + ", " + book.bid_levels + " bids, " + book.ask_levels + " asks, known "
      + (book.bids_whole ? "all bids" : "bids to " + short(book.bids_known_to || "none")) + ", "
      + (book.asks_whole ? "all asks" : "asks to " + short(book.asks_known_to || "none"));
    line(table, "th", ["size", "bid", "ask", "size"]);
    for (let row = 0; row < Math.max(book.bids.length, book.asks.length); row++) {
      const b = book.bids[row] || ["", ""], a = book.asks[row] || ["", ""];
      line(table, "td", [short(b[1]), short(b[0]), short(a[0]), short(a[1])]);
    }
  } catch (error) { note.textContent = "no book: " + error.message; }
  if (location.hash.slice(6) === id) panel.replaceChildren(title, note, table);
}
addEventListener("hashchange", look);
setInterval(look, 3000);
look();
"""


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}'; script-src 'sha256-{_digest(SCRIPT)}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: nothing but its own style and script, and questions to its own server."""


def render_page(status: Mapping[str, Any], history: History, now: datetime) -> str:
    """The whole page. Without scripts it is asked for again every ten seconds."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<noscript><meta http-equiv="refresh" content="10"></noscript>
<title>cowbook</title>
<style>{STYLE}</style>
</head>
<body>
<p id="stale" class="bad">No answer: what is shown is old.</p>
<main id="main">{render_main(status, history, now)}</main>
<section id="book"></section>
<script>{SCRIPT}</script>
</body>
</html>
"""


def render_main(status: Mapping[str, Any], history: History, now: datetime) -> str:
    """What changes of the page, as HTML: the whole, what is wrong, and a table with the worst symbols first."""
    symbols: Sequence[Mapping[str, Any]] = sorted(status["symbols"], key=urgency)
    states = ", ".join(f"{count} {state}" for state, count in Counter(symbol["state"] for symbol in symbols).items())
    rate = sum(each.rate or 0.0 for each in history.symbols.values())
    problems = [text for symbol in symbols for text in problems_of(symbol)]
    ready = '<span class="bad">not ready</span>'
    if status["ready"]:
        ready = '<span class="odd">ready, with problems</span>' if problems else '<span class="good">ready</span>'
    lines = [f"<li>{_text(text)}</li>" for text in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"<li>and {len(problems) - _MOST_PROBLEMS:,} more</li>")
    shown = f'<ul id="problems">{"".join(lines)}</ul>' if lines else '<p class="good">No problems.</p>'
    rows = "".join(_row(symbol, history.symbols.get(symbol["id"]) or SymbolHistory(), now) for symbol in symbols)
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    return (
        f"<h1>cowbook {_text(status['version'])}: {ready}</h1>"
        f"<p>{_text(states)}; {rate:,.0f} events/s; running since {_text(status['started'])}; {now:%H:%M:%S} UTC. "
        '<a href="status">status</a> <a href="metrics">metrics</a></p>'
        f'{shown}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(symbol: Mapping[str, Any], history: SymbolHistory, now: datetime) -> str:
    state, synced, freeze = symbol["state"], symbol.get("synced"), symbol.get("freeze_seconds")
    lag, name = symbol.get("lag_bytes"), symbol["id"]
    rate = "" if history.rate is None else f"{history.rate:,.0f}"
    cells = [
        f'<a href="#book/{quote(name.encode("utf-8", "surrogateescape"), safe="")}">{_text(name)}</a>',
        f'<span class="{_class(urgency(symbol))}">{_SIGNS.get(state, "✓")} {_text(state)}</span>',
        rate + _curve(history.rates),
        _age(symbol.get("event_time"), now),
        _count(symbol.get("events")),
        "" if synced is None else "yes" if synced else '<span class="odd">! no</span>',
        _text(describe_known(symbol.get("known")) or ""),
        _count(symbol.get("levels")),
        _count(symbol.get("gaps")),
        _count(symbol.get("dead_letters")),
        "" if lag is None else f"{lag / 1e6:,.1f}",
        _count(symbol.get("restarts")),
        _count(symbol.get("epoch")),
        _age(symbol.get("checkpoint_time"), now),
        ("" if freeze is None else f"{freeze * 1e3:,.3f}") + _bars([seconds for _, seconds in history.freezes]),
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _class(rank: int) -> str:
    if rank >= len(TROUBLED) + 1:
        return "odd" if rank == len(TROUBLED) + 1 else "good"
    return "odd" if rank < len(TROUBLED) and TROUBLED[rank] in ("waiting", "starting", "moving") else "bad"


def _curve(values: Sequence[float | None]) -> str:
    """Rates over time as a line; where one is not known it is 0."""
    if len(values) < 2:
        return ""
    most = max((value or 0.0 for value in values), default=0.0) or 1.0
    points = " ".join(f"{place},{20 - 18 * (value or 0.0) / most:.1f}" for place, value in enumerate(values))
    return (
        f'<svg viewBox="0 0 {len(values) - 1} 20" preserveAspectRatio="none" role="img" '
        f'aria-label="events per second, at most {most:,.0f}"><polyline points="{points}"/></svg>'
    )


def _bars(values: Sequence[float]) -> str:
    """Freezes, one bar for each checkpoint."""
    if len(values) < 2:
        return ""
    most = max(values) or 1.0
    bars = "".join(
        f'<rect x="{place}" y="{20 - 18 * value / most:.1f}" width="0.7" height="{18 * value / most:.1f}"/>'
        for place, value in enumerate(values)
    )
    return (
        f'<svg viewBox="0 0 {len(values)} 20" preserveAspectRatio="none" role="img" '
        f'aria-label="freezes of {len(values)} checkpoints, at most {most * 1e3:,.3f} ms">{bars}</svg>'
    )


def _age(text: str | None, now: datetime) -> str:
    """How long ago a time was, in the largest unit that fits."""
    if text is None:
        return ""
    seconds = (now - datetime.fromisoformat(text)).total_seconds()
    return next((f"{seconds / size:.0f} {unit} ago" for size, unit in _UNITS if seconds >= size), f"{seconds:.0f} s ago")


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _text(text: object) -> str:
    return escape(escaped(str(text)))


def now_utc() -> datetime:
    """The present time."""
    return datetime.now(UTC)
