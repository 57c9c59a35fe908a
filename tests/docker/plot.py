"""A dashboard's panels drawn with matplotlib from what Prometheus says: our own plot, not Grafana's.

The panels' places, titles, units, queries and names of lines are the dashboard's; the rest is ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tests.docker.watch import Line

Ask = Callable[[str], Iterable[Line]]
"""Knows the lines of a PromQL expression, at the minutes that are drawn."""
Panel = Mapping[str, Any]
"""A panel of a dashboard's JSON."""

COLUMNS = 24
WIDTH, UNIT = 13.0, 0.34
"""Inches: the whole width, and the height that is one in `gridPos`."""
HEAD, GAP = 0.5, 0.05
"""Inches: the dashboard's own title, and half of what is between two panels."""
LEFT, RIGHT, TOP, BOTTOM = 0.85, 0.3, 0.4, 0.74
"""Inches of a panel around its diagram; the legend is below it."""
LEGEND, LEGEND_LETTERS = 0.3, 90
"""Inches from a diagram down to its legend; what a line of the legend holds."""

UNITS: Mapping[str, tuple[float, Callable[[float], str]]] = {
    "reqps": (1.0, "{:g} req/s".format),
    "ops": (1.0, "{:g} /s".format),
    "percentunit": (100.0, "{:g} %".format),
    "s": (1.0, lambda s: f"{1000 * s:g} ms" if 0 < s < 1 else f"{s:g} s"),
    "short": (1.0, "{:g}".format),
    "bytes": (2.0**-20, "{:g} MiB".format),
}
"""What a value is multiplied with, and how it is written then."""

GROUND, CARD, EDGE, TEXT, FAINT = "#f2f3f5", "#ffffff", "#dcdfe4", "#24292f", "#69717c"
COLOURS = ["#2f7ed8", "#e8871e", "#2f9e5f", "#c8414b", "#8a63c9", "#14a0a0", "#a9822b", "#d0589c"]
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.color": TEXT,
    "axes.prop_cycle": cycler(linestyle=["-", "--"]) * cycler(color=COLOURS),
    "axes.edgecolor": EDGE,
    "axes.titlecolor": TEXT,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "grid.color": "#eceef1",
    "lines.linewidth": 1.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}


def plot(title: str, panels: Iterable[Panel], ask: Ask, minutes: Sequence[float], remark: str = "") -> Figure:
    """The rows and panels of a dashboard, each where the dashboard has it."""
    panels = list(panels)
    height = HEAD + UNIT * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), dpi=100, facecolor=GROUND)
        left, middle = 2 * GAP / WIDTH, 1 - HEAD / 2 / height
        figure.text(left, middle, title, size=14, weight="bold", va="center")
        figure.text(1 - left, middle, remark, color=FAINT, ha="right", va="center")
        for panel in panels:
            place = panel["gridPos"]
            x, w = (place[name] * WIDTH / COLUMNS for name in ("x", "w"))
            y, h = height - HEAD - UNIT * (place["y"] + place["h"]), UNIT * place["h"]
            if panel["type"] == "row":
                figure.text(left, (y + h / 2) / height, panel["title"], size=11, va="center")
            else:
                _card(figure, x + GAP, y + GAP, w - 2 * GAP, h - 2 * GAP)
                axes = _axes(figure, x + LEFT, y + BOTTOM, w - LEFT - RIGHT, h - BOTTOM - TOP)
                _draw(axes, panel, ask, minutes)
    return figure


def _card(figure: Figure, x: float, y: float, w: float, h: float) -> None:
    width, height = figure.get_size_inches()
    figure.add_artist(
        Rectangle((x / width, y / height), w / width, h / height, facecolor=CARD, edgecolor=EDGE, zorder=-1)
    )


def _axes(figure: Figure, x: float, y: float, w: float, h: float) -> Axes:
    width, height = figure.get_size_inches()
    return figure.add_axes((x / width, y / height, w / width, h / height), facecolor="none")


def _draw(axes: Axes, panel: Panel, ask: Ask, minutes: Sequence[float]) -> None:
    scale, written = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
    for name, line in _named(panel["targets"], ask):
        values = [scale * value for value in line.values]
        [drawn] = axes.plot(minutes, values, label=name)
        axes.fill_between(minutes, values, color=drawn.get_color(), alpha=0.06, linewidth=0)
    axes.set_xlim(minutes[0], minutes[-1])
    axes.set_ylim(0, 1.05 * axes.dataLim.y1 if axes.dataLim.y1 > 0 else 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} min"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.tick_params("x", pad=6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    _write(axes, panel["title"])


def _named(targets: Iterable[Panel], ask: Ask) -> Iterator[tuple[str, Line]]:
    """A panel's lines with their names; by name for each of its queries."""
    for target in targets:
        lines = ask(target["expr"])
        yield from sorted(
            ((_name(target["legendFormat"], line.labels), line) for line in lines), key=itemgetter(0)
        )


def _name(pattern: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels[label[1]], pattern)


def _write(axes: Axes, title: str) -> None:
    """The title above the diagram, the legend below it."""
    room = axes.get_window_extent().transformed(axes.figure.dpi_scale_trans.inverted())
    axes.set_title(title, loc="left", x=(0.15 - LEFT) / room.width)
    names = [str(line.get_label()) for line in axes.get_lines()]
    if not names:
        return
    lines = -(-sum(len(name) + 5 for name in names) // LEGEND_LETTERS)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -LEGEND / room.height),
        ncols=-(-len(names) // lines),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.2,
        fontsize=8.5,
    )
