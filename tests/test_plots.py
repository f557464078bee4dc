"""Figures put points where they belong and compute nothing else."""

import io
import statistics
import time

import ipywidgets
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from dpo_edu import plots


@pytest.fixture
def ax():
    figure = plt.figure()
    yield figure.gca()
    plt.close(figure)


def test_simplex_points_keep_distances_to_the_corners_equal():
    corners, middle = plots.simplex_points(np.eye(3)), plots.simplex_points(np.full(3, 1 / 3))
    sides = [np.linalg.norm(corners[a] - corners[b]) for a, b in ((0, 1), (1, 2), (2, 0))]
    assert np.allclose(sides, 1.0, atol=1e-15)
    assert np.allclose(np.linalg.norm(corners - middle, axis=1), 1 / np.sqrt(3), atol=1e-15)


def test_simplex_points_are_affine():
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(3), size=2)
    halfway = (plots.simplex_points(a) + plots.simplex_points(b)) / 2
    assert np.allclose(plots.simplex_points((a + b) / 2), halfway, atol=1e-15)


def test_simplex_axes_name_each_corner_beside_it(ax):
    plots.simplex_axes(ax, ["a", "b", "c"])
    for text, corner in zip(ax.texts, plots.simplex_points(np.eye(3)), strict=True):
        assert np.linalg.norm(np.array(text.get_position()) - corner) < 0.05
    assert [t.get_text() for t in ax.texts] == ["a", "b", "c"]


def test_simplex_axes_draw_one_closed_triangle_and_show_all_of_it(ax):
    plots.simplex_axes(ax, ["a", "b", "c"])
    (outline,) = ax.lines
    corners = plots.simplex_points(np.eye(3))
    assert np.allclose(outline.get_xydata(), corners[[0, 1, 2, 0]])
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for x, y in [*corners, *(text.get_position() for text in ax.texts)]:
        assert left < x < right and bottom < y < top
    assert right - left < 1.2 and top - bottom < 1.1
    assert ax.get_aspect() == 1 and not ax.axison


def test_simplex_axes_want_three_labels(ax):
    with pytest.raises(ValueError, match="zip"):
        plots.simplex_axes(ax, ["a", "b"])


def test_marks_and_paths_lie_where_the_policy_is(ax):
    policy = np.array([0.2, 0.3, 0.5])
    plots.simplex_mark(ax, policy, "here", plots.COLORS["model"])
    plots.simplex_path(ax, np.vstack([policy, np.eye(3)]), plots.COLORS["truth"])
    dot, path = ax.lines
    assert np.allclose(dot.get_xydata()[0], plots.simplex_points(policy))
    assert len(path.get_xydata()) == 4
    assert ax.texts[0].get_text() == "here"


def test_dots_lie_above_paths_above_outlines_above_fillings_and_names_above_all(ax):
    policies = np.vstack([np.eye(3), np.full(3, 1 / 3)])
    filling = plots.simplex_contours(ax, policies, [0, 0, 0, 1])
    plots.simplex_axes(ax, ["a", "b", "c"])
    plots.simplex_path(ax, policies, plots.COLORS["truth"])
    plots.simplex_mark(ax, policies[3], "here", plots.COLORS["model"])
    outline, path, dot = ax.lines
    heights = [artist.get_zorder() for artist in (filling, outline, path, dot, ax.texts[-1])]
    assert heights == [0, 1, 3, 5, 6]


def test_a_mark_is_a_dot_of_eight_points_and_its_name_eight_right_of_it_and_six_up(ax):
    plots.simplex_mark(ax, [0.2, 0.3, 0.5], "here", plots.COLORS["model"])
    plots.annotate(ax, "there", (0, 0), plots.COLORS["model"])
    assert (ax.lines[0].get_markersize(), ax.lines[0].get_markeredgewidth()) == (8, 1.2)
    for text in ax.texts:
        ground = text.get_bbox_patch()
        assert text.xyann == (8, 6)
        assert ground.get_alpha() == 0.8
        assert ground.get_boxstyle().pad * text.get_fontsize() == pytest.approx(1, rel=0.05)


def test_labels_grow_away_from_their_point(ax):
    for right in (-5, -0.5, 0, 5):
        plots.annotate(ax, "here", (0, 0), plots.COLORS["ref"], offset=(right, 0))
    assert [t.get_ha() for t in ax.texts] == ["right", "right", "left", "left"]


def test_contours_cover_the_triangle(ax):
    steps = np.array([(a, b, 10 - a - b) for a in range(11) for b in range(11 - a)]) / 10
    contours = plots.simplex_contours(ax, steps, steps[:, 0], levels=5)
    assert np.allclose(contours.get_array(), [0.1, 0.3, 0.5, 0.7, 0.9])


def test_colours_differ_in_lightness_for_colour_blind_readers():
    def lightness(colour):
        return sum(w * int(colour[at : at + 2], 16) for w, at in ((0.3, 1), (0.59, 3), (0.11, 5)))

    pairs = [("truth", "model"), ("truth", "wrong"), ("ref", "model"), ("truth", "more")]
    assert all(abs(lightness(plots.COLORS[a]) - lightness(plots.COLORS[b])) > 15 for a, b in pairs)


def test_use_style_sets_the_look_and_leaves_the_backend_alone():
    before = plt.get_backend()
    plots.use_style()
    assert plt.rcParams["svg.hashsalt"] == "dpo-edu"
    assert plt.get_backend() == before


def luminance(color: str) -> float:
    """The relative luminance of a colour, as the Web Content Accessibility Guidelines have it."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("role", plots.COLORS)
def test_words_are_dark_enough_to_read_on_white(role: str, ax):
    assert 1.05 / (luminance(plots.INK[role]) + 0.05) >= 4.5
    plots.annotate(ax, "word", (0, 0), plots.COLORS[role])
    assert ax.texts[-1].get_color() == plots.INK[role]


def test_the_colour_of_the_curve_itself_may_be_too_pale_for_words():
    assert 1.05 / (luminance(plots.COLORS["more"]) + 0.05) < 4.5


def test_levels_lead_from_a_reward_to_what_is_left_of_it(ax):
    reward, level = [0.0, -1.0, 2.0], [0.5, -0.25, 1.0]
    plots.levels(ax, reward, level, ["a", "b", "c"], plots.COLORS["model"])
    bars, outlines = ax.containers
    assert [bar.get_height() for bar in bars] == level
    assert [bar.get_height() for bar in outlines] == reward
    (marks,) = ax.collections
    assert [line.tolist() for line in marks.get_segments()] == [
        [[x - 0.3, y], [x + 0.3, y]] for x, y in enumerate(level)
    ]
    assert [(a.xyann, a.xy) for a in ax.texts] == [
        ((x, old), (x, new)) for x, (old, new) in enumerate(zip(reward, level, strict=True))
    ]
    assert [(t.get_position()[0], t.get_text()) for t in ax.get_xticklabels()] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
    ]


def test_levels_have_their_colour_and_rewards_are_outlines(ax):
    plots.levels(ax, [0.0, 1.0], [0.5, 0.5], ["a", "b"], plots.COLORS["model"])
    bars, outlines = ax.containers
    filled = matplotlib.colors.to_rgba(plots.COLORS["model"], 0.35)
    grey = matplotlib.colors.to_rgba(plots.COLORS["ref"])
    assert all(bar.get_facecolor() == filled and bar.get_width() == 0.6 for bar in bars)
    assert all(bar.get_facecolor()[3] == 0 and bar.get_edgecolor() == grey for bar in outlines)
    assert all(bar.get_linestyle() == "--" and bar.get_width() == 0.6 for bar in outlines)
    (marks,) = ax.collections
    assert matplotlib.colors.to_hex(marks.get_color()[0]).upper() == plots.COLORS["model"]
    assert marks.get_linewidth().tolist() == [3]


def test_levels_stand_on_a_line_and_their_arrows_lie_above_all(ax):
    plots.levels(ax, [0.0, 1.0], [0.5, 0.5], ["a", "b"])
    bars, outlines = ax.containers
    (ground,) = ax.lines
    assert ground.get_ydata() == [0, 0] and ground.get_linewidth() == 0.8
    above = [ground, bars[0], outlines[0], *ax.collections, ax.texts[0]]
    assert [artist.get_zorder() for artist in above] == [1, 2, 3, 4, 5]
    (arrow, _) = (text.arrow_patch for text in ax.texts)
    assert arrow.get_linewidth() == 1.4
    assert arrow.get_edgecolor() == matplotlib.colors.to_rgba(plots.COLORS["ref"])
    assert (arrow.shrinkA, arrow.shrinkB) == (0, 0)
    ticks = ax.xaxis.get_major_ticks()
    assert all(tick.tick1line.get_markersize() == 0 for tick in ticks)
    assert not any(line.get_visible() for line in ax.get_xgridlines())


def test_levels_want_as_many_rewards_as_levels(ax):
    with pytest.raises(ValueError, match="shape mismatch|zip"):
        plots.levels(ax, [0.0, 1.0], [0.5, 0.5, 0.5], ["a", "b"])


# --- sliders ------------------------------------------------------------------------------------


def bars(height: float) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.bar([0, 1], [1, height])
    return figure


def moved(values: list[float], start: int = 0) -> tuple[ipywidgets.SelectionSlider, list[bytes]]:
    """A slider, and what its picture shows at every place."""
    made, once = [], ipywidgets.Image

    class Noted(once):
        def __init__(self, **given):
            super().__init__(**given)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipywidgets, "Image", Noted)
        handle = plots.slider(bars, values, label="height", start=start)
    (picture,) = made
    shown = []
    for place in range(len(values)):
        handle.value = place
        shown.append(picture.value)
    handle.value = start
    assert picture.value == shown[start]
    return handle, shown


def test_a_slider_shows_the_figure_of_each_value():
    _, shown = moved([0.5, 1.0, 2.0], start=1)
    assert len(set(shown)) == 3
    assert shown == moved([0.5, 1.0, 2.0])[1], "the same bytes on every run"
    for png, height in zip(shown, [0.5, 1.0, 2.0], strict=True):
        assert Image.open(io.BytesIO(png)).size == (600, 400)
        assert png == plots._png(bars(height))


def test_a_slider_leaves_no_figure_open():
    before = plt.get_fignums()
    moved([0.5, 1.0])
    assert plt.get_fignums() == before


def test_a_move_of_the_slider_takes_a_fraction_of_a_second():
    handle, _ = moved([0.5 + 0.1 * k for k in range(11)])
    seconds = []
    for place in range(1, 11):
        begin = time.perf_counter()
        handle.value = place
        seconds.append(time.perf_counter() - begin)
    assert statistics.median(seconds) <= 0.5
