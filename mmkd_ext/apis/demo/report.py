"""The demo's report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from mmkd_ext.apis.demo import figures
from mmkd_ext.apis.demo.summary import Summary

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid #ccc; text-align: right; }
th { border-bottom: 2px solid #444; } th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; } .note { color: #444; font-size: .9rem; }
.verdict { font-size: 1.1rem; font-weight: 600; }
"""


def write_report(path: Path, summary: Summary, stock_check: str) -> None:
    """Write the report.

    Args:
        path: Of the HTML file.
        summary: What was measured.
        stock_check: The sentence on how the checkpoints score in the stock config.
    """
    seed, metric = summary.distilled[0].seed, summary.task.metric
    pictures = summary.task.picture_module
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>mmkd_ext demo</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(summary.task.title)}</h1>",
        f"<p class='verdict'>{escape(summary.verdict())}</p>",
        f"<p>{escape(summary.cost())}</p>",
        _table(summary),
        f"<p>{escape(stock_check)}</p>",
        *(f"<p class='note'>{escape(line)}</p>" for line in summary.conditions()),
        f"<h2>{metric.test_heading}</h2>",
        _image(
            figures.bars(summary),
            f"{metric.test_heading} of the student alone, the student distilled and the teacher",
        ),
        "<p class='note'>A dot is a seed, a bar their mean, a whisker the standard deviation. "
        "The axis need not start at 0.</p>",
        "<h2>As training goes on</h2>",
        _image(
            figures.curves(summary),
            f"{metric.heading} on the val split, training loss and distillation losses by epoch",
        ),
        "<p class='note'>Thin lines are single seeds. The training loss is the student's own, on "
        "its labelled images; the distilled student minimises the distillation losses besides, "
        "each shown with its weight.</p>",
        f"<h2>{pictures.HEADING.format(seed=seed)}</h2>",
        _image(pictures.draw(summary), pictures.ALT),
        f"<p class='note'>{escape(pictures.note(summary))}</p>",
        "</body></html>",
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def _table(summary: Summary) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in summary.headings())
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in summary.rows()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _image(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f"<img alt='{escape(text)}' src='data:image/png;base64,{data}'>"
