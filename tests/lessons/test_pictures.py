"""Figures of the lessons: legible on light and dark pages, each with alternative text."""

import base64
import io
import itertools
import math
import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.text import Text

from transformer_lab.lessons.pictures import (
    DARK,
    LIGHT,
    Grid,
    Tile,
    curves,
    grids,
    mixing,
    predictions,
    tiles,
)
from transformer_lab.lessons.pictures.numbers import written_alike
from transformer_lab.lessons.pictures.themes import ink, rgb, tone

HOSTILE = "<img src=x onerror=alert(1)>$\\frac$"


def every_picture(label="cat"):
    weights = torch.softmax(torch.arange(9.0).view(3, 3), -1)
    hidden = weights.log().masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    words = [label, "b", "c"]
    return {
        "grids": grids(
            Grid(hidden, words, words, f"{label}\nnote"),
            Grid(weights, words, words, "weights", kind="weights", box=[1]),
            steps=["softmax"],
            alt=label,
            caption=label,
        ),
        "mixing": mixing(
            words,
            torch.rand(3, 2),
            weights,
            word=0,
            title=label,
            axes_names=("x", "y"),
            alt=label,
            caption=label,
        ),
        "curves": curves(
            [1, 2, 4],
            {label: [1, 2, 3], "other": [3, 2, 1]},
            title=label,
            x_name="x",
            y_name="y",
            alt=label,
            caption=label,
            log_x=True,
        ),
        "predictions": predictions({label: [(label, 0.5), ("b", 0.001)]}, alt=label, caption=label),
        "tiles": tiles(
            {label: [Tile(weights, label, cut=1), Tile(-weights)], "b": [Tile(weights, most=2)]},
            alt=label,
            caption=label,
        ),
    }


NAMES = list(every_picture())


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_carries_both_themes_and_its_words(name):
    bundle = every_picture()[name]._repr_mimebundle_()
    page = bundle["text/html"]
    assert page.count("<img") == 2
    assert page.count('alt="cat"') == 2
    assert 'class="tl-dark" style="display:none"' in page  # if no style sheet applies
    assert "<figcaption" in page
    assert "<script" not in page
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert "[picture: cat]" in bundle["text/plain"]
    assert len(page) < 300_000


def test_what_a_notebook_shows_is_what_files_hold():
    """A cell's three images match the files: two SVGs and one PNG."""
    weights = torch.softmax(torch.arange(9.0).view(3, 3), -1)
    hidden = weights.log().masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    picture = grids(Grid(hidden, "abc", "abc"), alt="a mask")
    bundle = picture._repr_mimebundle_()
    shown = [
        base64.b64decode(found) for found in re.findall(r'base64,([^"]+)', bundle["text/html"])
    ]
    assert shown == [picture.svg(theme).encode() for theme in (LIGHT, DARK)]
    assert base64.b64decode(bundle["image/png"]) == picture.png()


@pytest.mark.xss
@pytest.mark.parametrize("name", NAMES)
def test_hostile_labels_are_shown_literally(name):
    picture = every_picture(HOSTILE)[name]
    page = picture._repr_mimebundle_()["text/html"]
    assert page.count("<img") == 2
    assert "<img src=x" not in page
    drawn = picture.svg()
    assert "<img" not in drawn
    assert "$\\frac$" in drawn


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_the_same_every_time(name):
    torch.manual_seed(0)
    first = every_picture()[name].svg()
    torch.manual_seed(0)
    assert every_picture()[name].svg() == first


def seen(text):
    return bool(text.get_text()) and text.get_visible()


def test_no_words_of_one_grid_lie_on_those_of_another():
    """The two models of lesson 08, and a title longer than its grid."""
    columns = ["forty", "and", "hundred", "others"]
    heads = [f"layer {layer} head {head}" for layer in range(2) for head in range(4)]
    small = Grid([[0.25] * 4], heads[:1], columns, "the small model", kind="weights", x="", y="")
    large = Grid([[0.25] * 4] * 8, heads, columns, "the larger model", kind="weights", x="", y="")
    narrow = Grid([[1.0]], ["only"], ["a"], "what it says of this\nand what it says of that one")
    for panels in ([small, large], [narrow, large], [narrow, narrow, small]):
        figure = grids(*panels, alt="x").figure()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        words = [
            [text.get_window_extent() for text in axes.findobj(Text) if seen(text)]
            for axes in figure.axes
        ]
        for left, right in itertools.combinations(words, 2):
            assert not any(a.overlaps(b) for a in left for b in right)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(a * b for a, b in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_a_long_label_is_whole():
    long = predictions({"chance": [("W" * 34, 1.0)]}, alt="one bar")
    pixels = imread(io.BytesIO(long.png()), format="png")
    assert (pixels[:, :2] == pixels[0, 0]).all()  # the margin on the left is empty
    assert (pixels[:, :12] != pixels[0, 0]).any()  # and no wider than necessary


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_read(theme):
    for text in (theme.text, theme.quiet, theme.accent, theme.second):
        assert contrast(text, theme.page) >= 4.5
    for scale in (theme.sequential, theme.positive, theme.negative):
        steps = [contrast(tone, theme.page) for tone in scale]
        assert steps == sorted(steps)  # zero looks like the page; more has more contrast


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_numbers_in_cells_can_be_read(theme):
    for scale in (theme.sequential, theme.positive, theme.negative):
        for share in [i / 50 for i in range(51)]:
            ground = rgb(scale, share)
            colour = "#" + "".join(f"{round(float(part) * 255):02x}" for part in ground)
            assert contrast(ink(ground), colour) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.62, 1.0])
def test_a_sign_has_one_colour_on_both_pages(theme, share):
    red, _, blue = tone(theme, 1.0, share, signed=True)
    assert blue > red
    red, _, blue = tone(theme, -1.0, share, signed=True)
    assert red > blue


def test_numbers_of_one_matrix_are_written_alike():
    rows = [[1, 1.5, -0.004], [0, -0.25, -math.inf]]
    assert written_alike(np.array(rows), "scores") == [
        ["1.00", "1.50", "0.00"],
        ["0", "−0.25", "−∞"],
    ]
    assert written_alike(np.array([[1.0, -2], [0, -math.inf]]), "scores") == [
        ["1", "−2"],
        ["0", "−∞"],
    ]
    assert written_alike(np.array([[1.0, 0.25]]), "weights") == [["1.00", "0.25"]]
    assert written_alike(np.array([[1.0, 0.001]]), "weights") == [["1.00", "0.00"]]
    assert written_alike(np.array([[1.0, 0]]), "weights") == [["1", "0"]]  # a mask


def lines(n):
    made = {f"line {i}": [i, 2 * i] for i in range(n)}
    return curves([1, 2], made, title="t", x_name="x", y_name="y", alt="t")


def test_four_lines_are_told_apart_and_a_fifth_is_refused():
    for theme in (LIGHT, DARK):
        (axes,) = lines(4).figure(theme).axes
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
        assert len(axes.lines) == len(looks) == 4
        assert [text.get_text() for text in axes.texts] == [f"line {i}" for i in range(4)]
        assert len({text.get_color() for text in axes.texts}) == 4
    for n in (0, 5):
        with pytest.raises(ValueError, match=rf"lines must have 1 to 4 entries, got {n}"):
            lines(n)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_bars_of_all_panels_have_one_colour(n):
    figure = predictions({str(i): [("a", 0.5)] for i in range(n)}, alt="x").figure()
    bars = [patch for axes in figure.axes for patch in axes.patches]
    assert len(bars) == n
    assert len({bar.get_facecolor() for bar in bars}) == 1


def test_panels_of_one_unit_share_a_scale_and_no_others():
    lists = {"loss": [("a", 2.0)], "again": [("a", 4.0)], "time": [("a", 40.0)]}
    together = predictions(lists, alt="x").figure()
    assert len({axes.get_xlim() for axes in together.axes}) == 1
    apart = predictions(lists, alt="x", units=["nats", "nats", "s"]).figure()
    loss, again, time = (axes.get_xlim()[1] for axes in apart.axes)
    assert loss == again
    assert time == 10 * loss
    with pytest.raises(ValueError, match="one entry per list, got 2 for 3 lists"):
        predictions(lists, alt="x", units=["nats", "s"])


@pytest.mark.parametrize("letters", [1, 12, 34])
def test_long_names_of_a_panel_leave_the_numbers_of_the_one_before_alone(letters):
    lists = {title: [("W" * letters, 1.0)] for title in ("before", "after", "control")}
    figure = predictions(lists, alt="x").figure()
    panels = [
        (axes.get_yticklabels()[0].get_window_extent(), axes.texts[0].get_window_extent())
        for axes in figure.axes
    ]
    for (_, number), (name, _) in itertools.pairwise(panels):
        assert number.x1 < name.x0


def test_bars_below_0_are_drawn_and_told():
    figure = predictions({"higher by": [("a", 0.5), ("b", -0.25), ("c", -0.004)]}, alt="x").figure()
    (axes,) = figure.axes
    assert axes.get_xlim()[0] == -0.25
    assert [text.get_text() for text in axes.texts] == ["0.50", "−0.25", "−0.004"]
    assert [bar.get_width() for bar in axes.patches] == [0.5, -0.25, -0.004]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("off by -0.36, or (-.5)", "off by −0.36, or (−.5)"),
        ("at most 6e-08, 1.4e+06", "at most 6e−8, 1.4e6"),
        ("-2 means", "−2 means"),
        ("rows 1-2 and GPT-2, SmolLM2-135M, lag-13", "rows 1-2 and GPT-2, SmolLM2-135M, lag-13"),
        ("`x[-1] - 2e-05`, -1", "`x[-1] - 2e-05`, −1"),
        ("before “-”, 4 - 2", "before “-”, 4 - 2"),
    ],
)
def test_numbers_of_captions_are_written_as_those_of_pictures(written, read):
    bundle = predictions({"a": [("b", 0.5)]}, alt="x", caption=written)._repr_mimebundle_()
    assert bundle["text/plain"] == f"[picture: x] {read}"
    assert re.sub(r"</?code[^>]*>", "`", bundle["text/html"]).count(read) == 1


def test_labels_of_lines_stay_above_what_the_other_axis_says():
    figure = curves(
        [0, 1],
        {"a": [1, 0], "b": [1, 0], "c": [1, 0.9]},
        y_range=(0, 1),
        title="",
        x_name="",
        y_name="",
        alt="x",
    ).figure()
    (axes,) = figure.axes
    heights = [text.xyann[1] + end * 216 for text, end in zip(axes.texts, (0, 0, 0.9), strict=True)]
    assert min(heights) >= 6
    assert abs(heights[0] - heights[1]) >= 12
    assert heights[2] == pytest.approx(0.9 * 216)


@pytest.mark.parametrize("kind", ["good", "bad", "wait", "info"])
def test_card_marks_can_be_seen_in_both_themes(kind):
    from transformer_lab.lessons.cards import TONES

    assert contrast(TONES[kind], "#ffffff") >= 3
    assert contrast(TONES[kind], "#111111") >= 3


def test_misuse_is_explained():
    with pytest.raises(ValueError, match="at least one Grid"):
        grids(alt="x")
    with pytest.raises(ValueError, match="steps must have 0 entries for 1 grids, got 1"):
        grids(Grid([[1.0]], ["a"], ["b"]), steps=["x"], alt="x")
    with pytest.raises(ValueError, match="values must have 2 columns, got 3"):
        mixing(
            "abc",
            torch.rand(3, 3),
            torch.rand(3, 3),
            word=0,
            title="",
            axes_names=("", ""),
            alt="x",
        )
    with pytest.raises(ValueError, match="at least one row with a Tile"):
        tiles({"a": []}, alt="")
    with pytest.raises(ValueError, match="at least one list"):
        predictions({}, alt="x")


def test_the_first_pictures_carry_no_script():
    from pathlib import Path

    folder = Path(__file__).parents[2] / "notebooks" / "images"
    for file in folder.glob("*.svg"):
        assert not re.search(r"<script|onload|href=\"http", file.read_text(encoding="utf-8"))


def test_the_longest_number_of_a_matrix_fits_its_cell():
    values = np.array([[-11.43, 0.5], [0.25, -0.75]])
    figure = grids(Grid(values, ["a", "b"], ["c", "d"], "x", "scores"), alt="x").figure()
    (axes,) = figure.axes
    room = axes.get_window_extent().width / 2
    assert max(text.get_window_extent().width for text in axes.texts) < 0.95 * room
