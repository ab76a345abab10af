"""Page, sections and tables of a report. Everything that comes from data is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Cell = str | float | int | None

_STYLE = """
:root { --ink: #1d2733; --soft: #5b6876; --line: #d9dfe6; --paper: #ffffff; --wash: #f5f7f9; --warn: #fdf3e0;
  --one: #1f6fb2; --two: #c4601d }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #9aa7b5; --line: #37424f; --paper: #161b22;
  --wash: #1f262f; --warn: #3a2f1c; --one: #6cb2f0; --two: #f0a063 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.lead, .note { color: var(--soft) } .scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td:first-child { white-space: nowrap }
th { color: var(--soft); font-weight: 500 } td.number, th.number { text-align: right }
tr.own td { font-weight: 600; background: var(--wash) }
.warning { background: var(--warn); padding: .6rem .9rem; border-radius: 6px; margin: .5rem 0 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.2rem }
figure { margin: 0 } figcaption { color: var(--soft); font-size: .85rem }
svg { width: 100%; height: auto } svg text { fill: var(--soft); font: 11px system-ui, sans-serif }
"""


def page(title: str, lead: str, warnings: Iterable[str], sections: Iterable[str]) -> str:
    """A whole HTML document. `title`, `lead` and `warnings` are text; `sections` are HTML made by this module."""
    notes = "".join(f'<p class="warning">{escape(warning)}</p>' for warning in warnings)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>"
        f'<p class="lead">{escape(lead)}</p>{notes}{"".join(sections)}</body></html>\n'
    )


def section(title: str, content: str, note: str = "") -> str:
    """A heading, an optional note (text) and content (HTML)."""
    note = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"\n<h2>{escape(title)}</h2>{note}{content}"


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], own: int | None = None) -> str:
    """A table; columns of numbers are right-aligned. `own` is the index of a row to highlight."""
    body = [list(row) for row in rows]
    columns = [[row[index] for row in body] for index in range(len(header))]
    numeric = [any(c is not None for c in cells) and not any(isinstance(c, str) for c in cells) for cells in columns]
    kind = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(f"<th{k}>{escape(name)}</th>" for name, k in zip(header, kind, strict=True))
    lines = "".join(
        ('<tr class="own">' if index == own else "<tr>")
        + "".join(f"<td{k}>{escape(_text(cell))}</td>" for cell, k in zip(row, kind, strict=True))
        + "</tr>"
        for index, row in enumerate(body)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def metrics_table(
    own: str,
    metrics: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    uncertainty: Mapping[str, Any] | None = None,
) -> str:
    """The model's metrics above those of its baselines.

    uncertainty   of the same rows, from `bootstrap_binary_metrics`: the ends of the model's 95 % intervals, and, in a second
                  table, its lead over each baseline
    """
    names, uncertainty = list(metrics), uncertainty or {}
    intervals = uncertainty.get("test", {})
    rows: list[list[Cell]] = [[own, *(metrics[name] for name in names)]]
    for end, label in enumerate(("95 %, from", "to")) if intervals else ():
        rows.append([label, *((intervals.get(name) or (None, None))[end] for name in names)])
    rows += [[label.replace("_", " "), *(values.get(name) for name in names)] for label, values in baselines.items()]
    return table(["", *(name.replace("_", " ") for name in names)], rows, own=0) + _ahead(uncertainty.get("ahead_of", {}))


def _ahead(differences: Mapping[str, Mapping[str, Sequence[float] | None]]) -> str:
    if not differences:
        return ""
    compared = list(next(iter(differences.values())))
    rows = [
        [name.replace("_", " "), *(_between(of_name[metric]) for metric in compared)] for name, of_name in differences.items()
    ]
    return table(["ahead of, 95 % of the differences", *(metric.replace("_", " ") for metric in compared)], rows)


def _between(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}"


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.4f}" if abs(cell) < 100 else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
