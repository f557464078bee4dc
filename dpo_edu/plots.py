"""Figures: arrays in, axes drawn on; nothing is computed here but where a point lies on the page.

Every figure of the suite uses these colours (Okabe and Ito's, told apart by colour-blind readers)
and labels its curves directly instead of by legends.
"""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from numpy.typing import ArrayLike

from dpo_edu._checks import Floats

#: Colours by role: `truth` for pi* and theory, `model` for what was measured or trained, `ref` for
#: the reference policy, `wrong` for a broken formula, `other` and `more` for what else there is.
#: Beside each stands what a text calls it.
COLORS = {
    "truth": "#0072B2",  # blue
    "model": "#D55E00",  # red
    "ref": "#444444",  # grey
    "wrong": "#CC79A7",  # pink
    "other": "#009E73",  # green
    "more": "#E69F00",  # orange
}

#: The same colours, dark enough for words on white (4.5 to 1 or more).
INK = {
    "truth": "#00629B",
    "model": "#B24A00",
    "ref": "#444444",
    "wrong": "#9E4477",
    "other": "#00704F",
    "more": "#8A5E00",
}
_INK_OF = {COLORS[role]: INK[role] for role in COLORS}

#: What `run` draws of a log's rows.
RUN_FIELDS = ("step", "loss", "chosen", "rejected", "accuracy", "grad_norm")

_STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "figure.figsize": (6.4, 3.8),
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "svg.hashsalt": "dpo-edu",
}


def use_style() -> None:
    """Set the suite's look for every figure drawn afterwards, sharp on every screen.

    >>> use_style()
    >>> plt.rcParams["axes.titlelocation"]
    'left'
    """
    plt.rcParams.update(_STYLE)
    if "inline" in plt.get_backend():  # in a notebook: twice the dots, shown at the same size
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")  # type: ignore[no-untyped-call]


def simplex_points(policies: ArrayLike) -> Floats:
    """Where policies over three responses lie in the plane: array ``(..., 3)`` to ``(..., 2)``.

    The corners are (0, 0), (1, 0) and (1/2, sqrt(3)/2): a response alone.

    >>> simplex_points([1 / 3, 1 / 3, 1 / 3]).round(6).tolist()
    [0.5, 0.288675]
    """
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    return np.asarray(np.asarray(policies, dtype=np.float64) @ corners, dtype=np.float64)


def simplex_axes(ax: Axes, labels: Sequence[str]) -> None:
    """Draw the triangle of all policies over three responses and name its corners.

    >>> simplex_axes(plt.figure().gca(), ["a", "b", "c"])
    """
    corners = simplex_points(np.eye(3))
    ax.plot(*np.vstack([corners, corners[:1]]).T, color="#999999", lw=1.2, zorder=1)
    places = [
        (-0.02, -0.02, "right", "top"),
        (1.02, -0.02, "left", "top"),
        (0.5, 0.885, "center", "bottom"),
    ]
    for (x, y, ha, va), label in zip(places, labels, strict=True):
        ax.text(x, y, label, ha=ha, va=va)
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set(xlim=(-0.08, 1.08), ylim=(-0.08, 0.97))


def simplex_contours(
    ax: Axes, policies: ArrayLike, values: ArrayLike, levels: ArrayLike = 14
) -> Any:
    """Filled contours of a function of the policy over the triangle.

    `policies` is ``(M, 3)``, `values` ``(M,)``, `levels` their number or their values.
    Returns the contour set, for a colour bar.

    >>> corners_and_middle = np.vstack([np.eye(3), np.full(3, 1 / 3)])
    >>> simplex_contours(plt.figure().gca(), corners_and_middle, [0, 0, 0, 1]) is not None
    True
    """
    mesh = Triangulation(*simplex_points(policies).T)
    return ax.tricontourf(mesh, np.asarray(values), levels=levels, cmap="cividis", zorder=0)


def simplex_path(ax: Axes, policies: ArrayLike, color: str, **style: Any) -> None:
    """A path of policies ``(M, 3)`` across the triangle.

    >>> simplex_path(plt.figure().gca(), np.eye(3), COLORS["truth"])
    """
    ax.plot(*simplex_points(policies).T, color=color, zorder=3, **style)


def simplex_mark(
    ax: Axes, policy: ArrayLike, label: str, color: str, offset: tuple[float, float] = (8, 6)
) -> None:
    """One policy as a dot with its name beside it; `offset` in points.

    >>> simplex_mark(plt.figure().gca(), [0.2, 0.3, 0.5], "here", COLORS["model"])
    """
    at = simplex_points(policy)
    ax.plot(*at, "o", color=color, ms=8, mec="white", mew=1.2, zorder=5)
    annotate(ax, label, at, color, offset)


def annotate(
    ax: Axes, label: str, at: ArrayLike, color: str, offset: tuple[float, float] = (8, 6)
) -> None:
    """A direct label next to a point of the data, on a faint white ground; `offset` in points.

    `color` is the curve's; the words take the shade of it that is dark enough to read.

    >>> annotate(plt.figure().gca(), "theory", (0.5, 0.5), COLORS["truth"])
    """
    x, y = np.asarray(at, dtype=np.float64)
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    ax.annotate(
        label,
        (float(x), float(y)),
        xytext=offset,
        textcoords="offset points",
        color=_INK_OF.get(color, color),
        ha="left" if offset[0] >= 0 else "right",
        va="center",
        zorder=6,
        bbox=ground,
    )


def point_at(ax: Axes, label: str, at: ArrayLike, color: str, place: tuple[float, float]) -> None:
    """A label elsewhere, at `place`, with a thin line to the point of the data that it names.

    >>> point_at(plt.figure().gca(), "theory", (0.5, 0.5), COLORS["truth"], (0.8, 0.9))
    """
    x, y = np.asarray(at, dtype=np.float64)
    ink = _INK_OF.get(color, color)
    line = {"arrowstyle": "-", "color": ink, "lw": 0.8, "shrinkA": 2, "shrinkB": 3}
    ax.annotate(
        label, (float(x), float(y)), place, color=ink, va="center", arrowprops=line, zorder=6
    )


def levels(
    ax: Axes,
    reward: ArrayLike,
    level: ArrayLike,
    labels: Sequence[str],
    color: str = COLORS["truth"],
) -> None:
    """Rewards as dashed outlines, and as bars what is left of them after the price of straying.

    `reward` and `level`, ``r - beta log(pi/pi_ref)``, are ``(n,)``, in reward units; an arrow leads
    from one to the other, and `labels` stand below.

    >>> levels(plt.figure().gca(), [0.0, 2.0], [1.0, 1.0], ["first", "second"])
    """
    before, after = np.asarray(reward, dtype=np.float64), np.asarray(level, dtype=np.float64)
    places = np.arange(len(before))
    ax.bar(places, after, width=0.6, color=color, alpha=0.35, zorder=2)
    ax.bar(places, before, width=0.6, fill=False, edgecolor=COLORS["ref"], ls="--", zorder=3)
    ax.hlines(after, places - 0.3, places + 0.3, color=color, lw=3, zorder=4)
    arrow = {"arrowstyle": "-|>", "color": COLORS["ref"], "lw": 1.4, "shrinkA": 0, "shrinkB": 0}
    for x, old, new in zip(places, before, after, strict=True):
        ax.annotate("", (x, new), xytext=(x, old), arrowprops=arrow, zorder=5)
    ax.axhline(0, color=COLORS["ref"], lw=0.8, zorder=1)
    ax.set_xticks(places, labels)
    ax.tick_params(axis="x", length=0)
    ax.grid(visible=False, axis="x")


def run(
    train: dict[str, Floats], held_out: dict[str, Floats], zero: float = float("nan")
) -> Figure:
    """A training log in four panels: loss, rewards, accuracy, gradient norm, by step.

    Lines are the training rows, dots the held-out ones; `zero` is the loss of the reference.

    >>> log = {name: np.ones(2) for name in RUN_FIELDS}
    >>> len(run(log, log, 0.7).axes)
    4
    """
    use_style()
    fig, panels = plt.subplots(2, 2, figsize=(9.6, 6.4), sharex=True)
    (loss, rewards), (accuracy, norm) = panels
    loss.axhline(zero, color=COLORS["ref"], ls="--", lw=1)
    rewards.axhline(0, color=COLORS["ref"], ls="--", lw=1)
    accuracy.axhline(0.5, color=COLORS["ref"], ls="--", lw=1)
    drawn = [(loss, "loss", "model", "loss"), (rewards, "chosen", "truth", "chosen")]
    drawn += [(rewards, "rejected", "wrong", "rejected"), (accuracy, "accuracy", "model", "")]
    drawn += [(norm, "grad_norm", "other", "")]
    for ax, name, role, label in drawn:
        ax.plot(train["step"], train[name], color=COLORS[role], lw=1.3)
        there = np.isfinite(held_out[name])
        ax.plot(
            held_out["step"][there], held_out[name][there], "o", color=COLORS[role], mec="white"
        )
        known = np.isfinite(train[name])
        if label and ax is rewards and known.any():
            annotate(ax, label, (train["step"][known][-1], train[name][known][-1]), COLORS[role])
    loss.set(title="Loss: line training, dots held out", ylabel="nats")
    rewards.set(title="Mean rewards", ylabel="beta times log-ratio")
    accuracy.set(title="Share of pairs won", ylim=(-0.05, 1.05), xlabel="step")
    norm.set(title="Gradient norm", xlabel="step")
    rewards.margins(x=0.15)
    return fig


def slider(
    draw: Callable[[Any], Figure], values: Sequence[Any], *, label: str, start: int = 0
) -> Any:
    """Show a figure that a slider moves; where no kernel runs, the picture at ``values[start]``.

    `draw` makes the figure for one of the `values`, the same size for each. All are drawn now, so
    that a move only changes the picture. Returns the slider.

    >>> handle = slider(lambda beta: plt.figure(figsize=(2, 2)), [0.5, 1.0, 2.0], label="β")
    >>> handle.value = 2  # the place among the values
    """
    import ipywidgets
    from IPython import get_ipython
    from IPython.display import display

    frames = [_png(draw(value)) for value in values]
    width, height = (int(size) for size in _css_size(frames[start]))
    picture = ipywidgets.Image(value=frames[start], width=width, height=height)
    places = [(str(value), place) for place, value in enumerate(values)]
    handle = ipywidgets.SelectionSlider(
        options=places, value=start, description=label, layout={"width": f"{min(width, 480)}px"}
    )
    handle.observe(lambda change: setattr(picture, "value", frames[change.new]), "value")
    shown = ipywidgets.VBox([handle, picture])._repr_mimebundle_()
    shown["image/png"] = base64.b64encode(frames[start]).decode()
    if get_ipython():
        display(shown, metadata={"image/png": {"width": width, "height": height}}, raw=True)
    return handle


def _png(figure: Figure) -> bytes:
    """A figure as a PNG with twice the dots, the same bytes on every run."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=2 * figure.dpi, metadata={"Software": None})
    plt.close(figure)
    return file.getvalue()


def _css_size(png: bytes) -> tuple[float, float]:
    """Width and height at which a PNG with twice the dots is shown."""
    return int.from_bytes(png[16:20]) / 2, int.from_bytes(png[20:24]) / 2
