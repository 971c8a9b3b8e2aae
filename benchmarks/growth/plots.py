"""Plots of the growth, as SVG files that are equal for equal data.

matplotlib is an optional package: the extra `bench`. `make bench` installs it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import peers
from .data import (
    WRITE_RATE,
    Growth,
    Point,
    calls_one_by_one,
    least_calls,
    least_seconds,
    seconds_one_by_one,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = "matplotlib is not installed, so no plots are drawn: pip install -c constraints.txt -e '.[bench]'"

Style = dict[str, Any]
"""Options of matplotlib by name."""

_SETTINGS: Any = {
    "svg.hashsalt": "cloudrun-identity",  # else the ids of elements are random
    "svg.fonttype": "path",  # the same letters everywhere
    "font.family": "DejaVu Sans",  # is part of matplotlib
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "legend.frameon": False,
}
# The palette of Okabe and Ito can be distinguished with every form of color blindness. Markers and dashes
# differ too.
_OPERATOR: Style = {"color": "#0072B2", "marker": "o", "linewidth": 2.2, "label": "this operator"}
_ONE_BY_ONE: Style = {"color": "#D55E00", "marker": "s", "linestyle": "-.", "linewidth": 1.6}
_LIMIT: Style = {"color": "#000000", "linestyle": "--", "linewidth": 1.2}
_GOAL: Style = {"color": "#009E73", "linestyle": ":", "linewidth": 2.0}
_PEERS: tuple[Style, ...] = (
    {"color": "#CC79A7", "marker": "*", "markersize": 16},
    {"color": "#E69F00", "marker": "D", "markersize": 9},
)
_LIMITED = f"one by one, at most {WRITE_RATE.per_minute:g} writes per minute"
_SIZE = (8.0, 5.4)  # inches


class NotInstalled(Exception):
    """An optional package is not installed. The message is one line with the remedy."""


def draw(growth: Growth, directory: Path) -> list[Path]:
    """Draw every plot into a directory, and return the files.

    Raises:
        NotInstalled: matplotlib is not installed.

    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise NotInstalled(MISSING) from error
    files = []
    for name, plot in _PLOTS.items():
        with mpl.rc_context(_SETTINGS):
            figure = Figure(figsize=_SIZE, layout="constrained")
            axes = figure.add_subplot()
            axes.set_xscale("log")
            axes.set_xlabel("objects (IAMBindings of one member each)")
            plot(axes, growth)
            axes.xaxis.set_major_formatter("{x:,.0f}")
            figure.legend(loc="outside lower center", ncols=2, fontsize=10)
            files.append(directory / f"{name}.svg")
            figure.savefig(files[-1], metadata={"Date": None, "Creator": None})
    return files


def _calls(axes: "Axes", growth: Growth) -> None:
    axes.set_title("Reads and writes of policies until all objects are Ready")
    axes.set_ylabel("calls to Google Cloud")
    axes.set_yscale("log")
    _line(axes, growth, lambda point: calls_one_by_one(point.objects), _ONE_BY_ONE, "one by one")
    _line(axes, growth, lambda point: point.calls, _OPERATOR)
    _line(
        axes,
        growth,
        lambda point: least_calls(point.policies),
        _LIMIT,
        "limit: a read and a write per policy",
    )
    for peer, style in zip(peers.MEASUREMENTS, _PEERS, strict=True):
        _peer(axes, peer, peer.calls, style)
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _seconds(axes: "Axes", growth: Growth) -> None:
    axes.set_title("Seconds until all objects are Ready")
    axes.set_ylabel("seconds")
    axes.set_yscale("log")
    _line(axes, growth, lambda point: seconds_one_by_one(growth, point), _ONE_BY_ONE, _LIMITED)
    _line(axes, growth, lambda point: point.seconds, _OPERATOR)
    _line(axes, growth, lambda point: least_seconds(point.policies), _LIMIT, "limit: latency and rate limit")
    for peer, style in zip(peers.MEASUREMENTS, _PEERS, strict=True):
        _peer(axes, peer, peer.seconds, style)
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _memory(axes: "Axes", growth: Growth) -> None:
    axes.set_title("Peak memory of the operator")
    axes.set_ylabel("peak resident memory in MiB")
    _line(axes, growth, lambda point: point.memory, _OPERATOR)
    axes.axhline(growth.start_memory, **_LIMIT, label="limit: an operator with one object")
    axes.axhline(256e6 / 2**20, **_GOAL, label="goal for 10,000 objects: 244 MiB (256 MB)")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _processor(axes: "Axes", growth: Growth) -> None:
    axes.set_title("Processor time of the operator")
    axes.set_ylabel("processor time in seconds")
    axes.set_yscale("log")
    _line(axes, growth, lambda point: point.cpu, _OPERATOR, "until all are Ready")
    restarted = _OPERATOR | {"marker": "^", "color": "#56B4E9"}
    _line(axes, growth, lambda point: point.restart_cpu, restarted, "restart in sync")
    axes.set_ylim(bottom=1)
    axes.axhline(growth.start_cpu, **_LIMIT, label="start with one object")
    axes.yaxis.set_major_formatter("{x:,.0f}")


_PLOTS: dict[str, Callable[["Axes", Growth], None]] = {
    "calls": _calls,
    "seconds": _seconds,
    "memory": _memory,
    "processor-time": _processor,
}


def _line(
    axes: "Axes",
    growth: Growth,
    cost: Callable[[Point], float],
    style: Style,
    label: str = "",
) -> None:
    named = style | ({"label": label} if label else {})
    axes.plot([each.objects for each in growth.points], [cost(each) for each in growth.points], **named)


def _peer(axes: "Axes", peer: peers.Measurement, cost: float, style: Style) -> None:
    axes.plot([peer.members], [cost], linestyle="none", **style, label=peer.tool)
