"""Pictures of numbers without global state: matplotlib's objects, never pyplot, drawn in memory by Agg."""

import io
from typing import TYPE_CHECKING

from groundling.draw import ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES = tuple[float, float]


def need_extra() -> None:
    """ValueError naming the extra if what draws the pictures is not installed."""
    try:
        import matplotlib  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ValueError(f"analysis needs {error.name}; pip install 'groundling[draw]'") from error


def figure(size: INCHES, *, constrained: bool = True) -> "Figure":
    """An empty figure on an Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12) if constrained else None  # inches to the edge
    drawn = Figure(size, layout=layout, facecolor=ink.PAPER)
    FigureCanvasAgg(drawn)
    return drawn


def png(drawn: "Figure") -> bytes:
    """The figure as the bytes of a PNG, the same bytes each time."""
    data = io.BytesIO()
    drawn.savefig(data, format="png", dpi=130, metadata={"Software": None})
    return data.getvalue()


def titled(axes: "Axes", title: str, x: str = "", y: str = "") -> None:
    """A title at the left and quiet axes."""
    axes.set_title(title, loc="left", fontsize=11, color=ink.INK, fontweight="bold")
    axes.set_xlabel(x, fontsize=9, color=ink.QUIET)
    axes.set_ylabel(y, fontsize=9, color=ink.QUIET)
    quiet(axes)


def quiet(axes: "Axes") -> None:
    """Only the lines that carry something."""
    axes.tick_params(labelsize=8, colors=ink.QUIET, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(ink.OFF)


def literal(text: str) -> str:
    """People's words as they are: a dollar sign starts no formula."""
    return " ".join(text.split()).replace("$", r"\$")


def shortened(text: str, letters: int) -> str:
    """At most so many letters, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"
