"""The report as one HTML file: a calendar of verdicts, the gaps with their times, all figures. It loads and runs nothing."""

from __future__ import annotations

from calendar import Calendar, month_name
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from html import escape
from itertools import groupby

from cowbook.plain.escaping import escaped
from cowbook.report.day_report import DayQuality, iso
from cowbook.report.verdict import CONSISTENT, GAP, NO_FAULT_FOUND, NOT_PROVABLE, PROVED, WORDS, judge_day

Tables = Sequence[tuple[Sequence[str], Sequence[Sequence[str]], Sequence[str]]]
"""Of each table its columns, its rows and its row of totals."""

_SHOWN_GAPS = 500  # of a symbol
_DAY_NS = 86_400 * 10**9

_STATES = {
    PROVED: ("proved", "✓"),
    CONSISTENT: ("consistent", "≈"),
    GAP: ("gap", "✗"),
    NOT_PROVABLE: ("none", "○"),
    NO_FAULT_FOUND: ("unknown", "·"),
}
"""Of each verdict the class and the sign, which tells it from the others without colour."""

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--proved:#1a7f37;--consistent:#0969da;--gap:#c62828;--none:#6e5a00;--unknown:#5f6368}
body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:0 auto;padding:1rem}
h1,h2,h3{line-height:1.2}
h3{font-size:1rem;margin:.5rem 0}
.months{display:flex;flex-wrap:wrap;gap:1.5rem}
.month{display:grid;grid-template-columns:repeat(7,2.6rem);gap:3px}
.month h3{grid-column:1/-1}
.month span,.month a{height:2.6rem;border-radius:4px;text-align:center;font-size:.8rem;line-height:1.15;padding-top:.25rem;
box-sizing:border-box;text-decoration:none}
.month b{font-size:1rem;display:block;line-height:1}
.month span{color:#888}
.verdict{color:#fff;border-radius:4px;padding:.05rem .45rem;white-space:nowrap}
.proved{background:var(--proved)}.consistent{background:var(--consistent)}.none{background:var(--none)}
.unknown{background:var(--unknown)}
.gap{background:var(--gap) repeating-linear-gradient(45deg,#0000 0 5px,#fff3 5px 8px)}
a.proved,a.consistent,a.gap,a.none,a.unknown{color:#fff}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin:.5rem 0;font-size:.9rem}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
td.why{white-space:normal;min-width:16rem}
.left{text-align:left}
tfoot{font-weight:bold}
svg{display:block;width:100%;height:1.6rem;background:#8882;border-radius:3px}
svg rect{fill:var(--gap)}
dt{font-weight:bold;margin-top:.5rem}
dd{margin-left:1rem}
:target{outline:3px solid var(--consistent)}
"""


def make_report_page(days: Sequence[DayQuality], tables: Tables, legend: Mapping[str, str]) -> str:
    """The page. `tables` are those that the terminal shows, `legend` says what words and columns mean."""
    verdicts = Counter(judge_day(day).word for day in days)
    summary = " ".join(f"{_badge(word)} {verdicts[word]:,}" for word in WORDS if verdicts[word])
    symbols = [_symbol(name, list(rows)) for name, rows in groupby(days, key=lambda day: day.symbol)]
    meanings = "".join(
        f"<dt>{_badge(word) if word in WORDS else _text(word)}</dt><dd>{_text(text)}</dd>" for word, text in legend.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>cowbook: what can be trusted</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>What can be trusted</h1>
<p>{_several(len(days), "day")} of {_several(len(symbols), "symbol")}: {summary}</p>
{"".join(symbols)}
<h2>Figures</h2>
{"".join(_table(*table) for table in tables)}
<h2>Words and columns</h2>
<dl>{meanings}</dl>
</body>
</html>
"""


def _text(text: str) -> str:
    return escape(escaped(text))


def _several(count: int, of: str) -> str:
    return f"{count:,} {of}" if count == 1 else f"{count:,} {of}s"


def _badge(word: str) -> str:
    name, sign = _STATES[word]
    return f'<span class="verdict {name}">{sign} {escape(word)}</span>'


def _symbol(name: str, days: Sequence[DayQuality]) -> str:
    return f"""<section>
<h2>{_text(name)}</h2>
<div class="months">{"".join(_months(name, days))}</div>
{_gaps(name, days)}
</section>
"""


def _months(name: str, days: Sequence[DayQuality]) -> Iterator[str]:
    """A grid of weeks for each month that has a day. Days without data are pale numbers."""
    by_date = {date.fromisoformat(day.day): day for day in days if day.day}
    for year, month in sorted({(day.year, day.month) for day in by_date}):
        cells = []
        for day in Calendar().itermonthdates(year, month):
            if day.month != month:
                cells.append("<span></span>")
            elif day not in by_date:
                cells.append(f"<span>{day.day}</span>")
            else:
                verdict = judge_day(by_date[day])
                state, sign = _STATES[verdict.word]
                title = _text(f"{day}: {verdict.word}: {verdict.reason}")
                cells.append(
                    f'<a class="{state}" href="#{_anchor(name, day.isoformat())}" title="{title}" aria-label="{title}">'
                    f"{day.day}<b>{sign}</b></a>"
                )
        yield f'<div class="month"><h3>{month_name[month]} {year}</h3>{"".join(cells)}</div>'


def _anchor(symbol: str, day: str) -> str:
    """A name for a place of the page, of letters that need no escaping."""
    return f"d-{symbol.encode('utf-8', 'backslashreplace').hex()}-{day}"


def _gaps(name: str, days: Sequence[DayQuality]) -> str:
    """The times of the gaps, and each day that has one as a line of 24 hours."""
    count = sum(day.gaps for day in days)
    if not count:
        return "<p>No gaps.</p>"
    if all(day.gap_times is None for day in days):
        return f"<p>{_several(count, 'gap')}. Their times are in the output, which is not where it was: report on it, too.</p>"
    lines, rows = [], []
    for day in days:
        times, sizes = day.gap_times or (), day.gap_sizes or ()
        if times:
            places = sorted({time % _DAY_NS * 1440 // _DAY_NS for time in times})
            marks = "".join(f'<rect x="{minute}" width="4" height="10"/>' for minute in places)
            lines.append(
                f'<h3>{day.day}, 00:00 to 24:00 UTC</h3><svg viewBox="0 0 1440 10" preserveAspectRatio="none" role="img" '
                f'aria-label="{_several(len(times), "gap")} of {_text(name)} on {day.day}">{marks}</svg>'
            )
        for time, size in zip(times, sizes, strict=True):
            rows.append(f'<tr><td class="left">{_clock(time)}</td><td>{"unknown" if size is None else f"{size:,}"}</td></tr>')
    more = f"<p>and {len(rows) - _SHOWN_GAPS:,} more</p>" if len(rows) > _SHOWN_GAPS else ""
    return (
        f"<h3>{_several(count, 'gap')}</h3>{''.join(lines)}"
        f'<div class="wide"><table><thead><tr><th class="left">gap at, UTC</th><th>ids missing</th></tr></thead>'
        f"<tbody>{''.join(rows[:_SHOWN_GAPS])}</tbody></table></div>{more}"
    )


def _clock(time: int) -> str:
    return (iso(time) or "").replace("T", " ").removesuffix("+00:00")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str]) -> str:
    """A table; the days of the one with verdicts are where the calendar leads to."""
    head = "".join(f"<th{_class(column)}>{_text(column)}</th>" for column in columns)
    body = []
    for row in rows:
        place = f' id="{_anchor(row[0], row[1])}"' if "verdict" in columns else ""
        body.append(f"<tr{place}>{''.join(_cell(column, cell) for column, cell in zip(columns, row, strict=True))}</tr>")
    foot = "".join(f"<td{_class(column)}>{_text(cell)}</td>" for column, cell in zip(columns, total, strict=True))
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody>'
        f"<tfoot><tr>{foot}</tr></tfoot></table></div>"
    )


def _class(column: str) -> str:
    return ' class="left why"' if column == "why" else ' class="left"' if column in ("symbol", "day", "verdict") else ""


def _cell(column: str, cell: str) -> str:
    return f"<td{_class(column)}>{_badge(cell) if column == 'verdict' else _text(cell)}</td>"
