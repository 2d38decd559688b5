"""The picture of `python -m fastln bench --plot` and of the README: time relative to a copy, by matplotlib."""

from __future__ import annotations

import importlib
from typing import Any

# Text and lines have the same contrast on white and on the near-black of a dark page, and no background is drawn: a
# picture cannot know which of the two its page has. Markers differ in shape, too, for eyes that tell few colours apart.
INK = "#7a7a7a"
STYLES = {
    "fastln": ("o", "#e5533d"),
    "NumPy": ("s", "#8c8c8c"),
    "numba": ("^", "#3b86e0"),
    "PyTorch": ("D", "#b8860b"),
    "ONNX Runtime": ("v", "#2f9e62"),
    "JAX": ("P", "#a866d6"),
}
ORDER = ["fastln", "copy", *list(STYLES)[1:]]
ROW = 0.3  # inches


class MissingError(ImportError):
    pass


def require() -> Any:
    """matplotlib, drawing to files alone. Raises MissingError with what to do."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        raise MissingError("plots need matplotlib: python -m pip install matplotlib") from None
    matplotlib.use("agg")
    return matplotlib


def draw(report: dict[str, Any], path: str) -> None:
    """One row per case, one marker per library, a line where the copy is."""
    matplotlib = require()
    settings = {
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.edgecolor": INK,
    }
    # Nothing in the file that changes from one drawing to the next.
    with matplotlib.rc_context(settings | {"svg.hashsalt": "fastln", "font.size": 9}):
        pyplot = importlib.import_module("matplotlib.pyplot")
        results = report["results"]
        figure, axes = pyplot.subplots(figsize=(8, 1.3 + ROW * len(results)), layout="constrained")
        draw_rows(axes, results)
        draw_frame(axes, results, report["threads"])
        draw_legend(figure, axes)
        metadata = {"Date": None} if path.endswith(".svg") else None
        figure.savefig(path, transparent=True, metadata=metadata, dpi=160)
        pyplot.close(figure)


def draw_rows(axes: Any, results: list[dict[str, Any]]) -> None:
    names = {name: None for result in results for name in result["contenders"] if name != "copy"}
    for name in sorted(names, key=lambda name: name == "fastln"):  # the last is on top
        points = [(r["contenders"][name]["to_copy"], row) for row, r in enumerate(results) if name in r["contenders"]]
        marker, color = STYLES[name]
        size = 60 if name == "fastln" else 32
        axes.scatter(*zip(*points, strict=True), s=size, marker=marker, color=color, label=name, linewidths=0, zorder=3)


def draw_frame(axes: Any, results: list[dict[str, Any]], threads: int) -> None:
    axes.set_xscale("log")
    axes.axvline(1, color=INK, linewidth=1.2, label="copy")
    axes.set_yticks(range(len(results)), [result["label"] for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.set_xlabel(
        f"time relative to a copy of the array, {threads} thread{'s' if threads > 1 else ''} (left is faster)"
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_legend(figure: Any, axes: Any) -> None:
    """Above the rows, in the order in which tables name the libraries."""
    handles, labels = axes.get_legend_handles_labels()
    entries = sorted(zip(labels, handles, strict=True), key=lambda entry: ORDER.index(entry[0]))
    figure.legend(
        [handle for _, handle in entries],
        [label for label, _ in entries],
        loc="outside upper center",
        ncols=len(entries),
        frameon=False,
        handlelength=1.2,
        handletextpad=0.4,
        columnspacing=1.4,
    )
