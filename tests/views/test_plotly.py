"""Every view as a plotly figure: valid, complete, and with the view's own numbers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.every_view import VIEWS
from tests.factories import WORDS, small
from transformer_lab import views
from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.messages import messages
from transformer_lab.views.shared.modules import VIEWS as FOLDER

MIME = "application/vnd.plotly.v1+json"


def maps(figure):
    return [
        np.asarray(trace.z, dtype=np.float64) for trace in figure.data if trace.type == "heatmap"
    ]


def lines(figure, kind="scatter"):
    return {trace.name: trace for trace in figure.data if trace.type == kind}


def heads_map(view, weights):
    """A decoder's pattern as displayed: NaN where a token cannot attend."""
    shown = weights.double().numpy().copy()
    shown[np.triu(np.ones(shown.shape, dtype=bool), 1)] = np.nan
    return shown


def check_head(view, figure):
    (z,) = maps(figure)
    rows = torch.stack([view.row(query) for query in range(13)])
    np.testing.assert_array_equal(z, heads_map(view, rows))


def check_explorer(view, figure):
    (z,) = maps(figure)
    rows = torch.stack([view.row(query) for query in range(len(z))])
    np.testing.assert_array_equal(z, heads_map(view, rows))
    bars = lines(figure, "bar")
    rows = view.session.outcome.rows
    assert list(bars["before"].x) == [row.before for row in rows]
    assert list(bars["after"].x) == [row.after for row in rows]


def check_residual(view, figure):
    norms, lens = maps(figure)
    np.testing.assert_array_equal(norms, tl.circuits.stream_norms(view.trace).double())
    answers = tl.circuits.logit_lens(view.trace, positions=range(1, 13)).answer_probability
    np.testing.assert_allclose(lens, answers.double(), rtol=1e-6)
    shares = tl.circuits.block_share(view.trace)
    for part, share in zip(shares.parts, shares.share, strict=True):
        np.testing.assert_allclose(lines(figure, "bar")[part].x, share.median(-1).values)


def check_why(view, figure):
    (fall,) = lines(figure, "waterfall").values()
    cell = view.cell.info
    assert sum(fall.y) == pytest.approx(cell["score"], rel=1e-5)
    weights = view.trace.pattern(1, 2)[8]
    row = next(trace for trace in figure.data if trace.type == "bar")
    np.testing.assert_allclose(sorted(row.x), sorted(weights.topk(8).values.tolist()), rtol=1e-5)


def check_block(view, figure):
    weights = view.trace.pattern(1, 2)[8]
    row = next(trace for trace in figure.data if trace.type == "bar")
    np.testing.assert_allclose(row.x, weights, atol=1e-6)
    stream = view.trace.residual()["resid_pre"][1, 8]
    np.testing.assert_allclose(lines(figure)["x"].y, stream, atol=1e-6)


def check_compare(view, figure):
    moved, *shown = maps(figure)
    np.testing.assert_array_equal(moved, view.moved().double())
    wanted = [*(m.double() for m in view.maps()), view.difference().float().double()]
    for found, values in zip(shown, wanted, strict=True):
        np.testing.assert_array_equal(found, heads_map(view, values))


def check_position(view, figure):
    distances, values = view.by_distance()
    curve = next(trace for trace in figure.data if trace.type == "scatter")
    assert list(curve.x) == distances.tolist()
    np.testing.assert_allclose(curve.y, values[0].double())
    for found, weights in zip(maps(figure)[1:], view.weights(), strict=True):
        np.testing.assert_array_equal(found, weights.float().double())


def check_mix(view, figure):
    scores, weights = (trace for trace in figure.data if trace.type == "bar")
    assert list(weights.x) == view.weights
    assert scores.x[:2] == (0.0, 3.0) and np.isnan(scores.x[2])
    mixture = lines(figure)["mixture"]
    assert (mixture.x[0], mixture.y[0]) == view.mixture
    # Two equal words have two rows.
    assert list(weights.y) == [0, 1, 2] and figure.layout.yaxis.ticktext == ("the", "cat", "the")


def check_cloud(view, figure):
    for side, points in (("queries", view.plane.queries), ("keys", view.plane.keys)):
        np.testing.assert_allclose(lines(figure)[side].x, points[:, 0])
        np.testing.assert_allclose(lines(figure)[side].y, points[:, 1])
    np.testing.assert_allclose(lines(figure)["keys"].customdata, view.plane.pattern.mean(0))


def check_patches(view, figure):
    (z,) = maps(figure)
    patches = view.trace.patches
    codes = view._data.codes(view.query)[view.layer, view.head]
    codecs = FOLDER / "shared" / "codecs.js"
    whole = [call(codecs, "weightOf", int(code)) for code in codes]
    assert z.shape == (patches.rows, patches.columns)
    np.testing.assert_allclose(
        z.ravel(), whole[patches.start : patches.start + patches.n], rtol=1e-6
    )
    np.testing.assert_allclose(
        lines(figure, "bar")[None].x, [whole[i] for i in patches.others], rtol=1e-6
    )
    assert figure.layout.images[0].source.startswith("data:image/png;base64,")


def check_spectrogram(view, figure):
    sound, over = maps(figure)
    np.testing.assert_array_equal(sound, view.trace.given["input_features"][0].double())
    row = view.trace.pattern(1, 0, kind="cross")[1].double()
    np.testing.assert_allclose(over, row[None], rtol=1e-5)
    np.testing.assert_allclose(lines(figure)["Layer 1, head 0"].y, row, rtol=1e-5)
    assert list(figure.data[0].x[:3]) == [0, 0.01, 0.02] and figure.data[1].x[49] == 0.98
    (shape,) = figure.layout.shapes
    assert (shape.x0, shape.x1) == pytest.approx((0.05, 0.19))


def check_patching(view, figure):
    found = {trace.name: trace for trace in figure.data if trace.type == "heatmap"}
    assert len(found) == len(view.grids)
    for site, grid in view.grids.items():
        z = np.asarray(found[messages("patching")("site", site=site)].z, dtype=np.float64)
        np.testing.assert_array_equal(z, grid.values.double())
    assert all("measured" in str(x) for row in found["z"].customdata for x in row)
    assert any("an estimate" in str(x) for row in found["q"].customdata for x in row)
    (shape,) = figure.layout.shapes
    _, layer, head = view.place
    assert (shape.x0, shape.y0) == (head - 0.5, layer - 0.5)


def check_training(view, figure):
    curve = lines(figure)["training"]
    assert list(curve.x) == [step.index for step in view.history]
    assert list(curve.y) == [step.loss for step in view.history]
    (z,) = maps(figure)
    np.testing.assert_array_equal(z, heads_map(view, torch.stack([view.row(q) for q in range(6)])))


def check_run(view, figure):
    found = lines(figure)
    assert list(found["loss"].x) == [line["index"] for line in view.run.metrics()]
    layer_0_head_1 = view.score()[:, 0, 1].double()
    np.testing.assert_allclose(found["layer 0, head 1"].y, layer_0_head_1)
    assert list(found["layer 0, head 1"].x) == view.snapshots


def check_flow(view, figure):
    (z,) = maps(figure)
    np.testing.assert_allclose(z, view.found.flow.stream.double(), rtol=1e-6)
    (bars,) = (trace for trace in figure.data if trace.type == "bar")
    listed = min(16, view.shown)
    assert list(bars.x) == [float(x) for x in view.found.values[:listed]]


def check_model(view, figure):
    (z,) = maps(figure)
    np.testing.assert_array_equal(z, view.found.norms["decoder"][1].double())
    bars = lines(figure, "bar")
    assert list(bars["before"].x) == [before for _, before, _ in view.answers]
    assert list(bars["after"].x) == [after for *_, after in view.answers]


def check_embedding(view, figure):
    """One plotly trace per label; no label occurs twice."""
    wanted = view.coordinates().numpy()
    found = np.array([np.ravel([trace.x, trace.y, trace.z]) for trace in figure.data])
    np.testing.assert_allclose(found, wanted)
    assert [trace.name for trace in figure.data] == WORDS
    assert (
        figure.layout.scene.xaxis.title.text == f"component 1 ({100 * view.explained()[0][0]:.0f}%)"
    )


CHECKS = {
    "HeadView": check_head,
    "Explorer": check_explorer,
    "ResidualView": check_residual,
    "FlowView": check_flow,
    "WhyView": check_why,
    "BlockView": check_block,
    "ModelView": check_model,
    "CompareView": check_compare,
    "PositionView": check_position,
    "MixView": check_mix,
    "CloudView": check_cloud,
    "PatchView": check_patches,
    "TrainingView": check_training,
    "RunView": check_run,
    "EmbeddingView": check_embedding,
    "SpectrogramView": check_spectrogram,
    "PatchingView": check_patching,
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_a_plotly_figure_with_its_own_numbers(made, name):
    import plotly.graph_objects as go
    import plotly.io as pio

    assert name in made.names and name in CHECKS, f"{name} needs a to_plotly and its check here"
    view = made(name)
    figure = view.to_plotly()
    assert isinstance(figure, go.Figure)
    CHECKS[name](view, figure)
    # plotly's own validation: unknown names, and values out of range.
    json.loads(pio.to_json(figure, validate=True))
    assert view.sentence.split()[0] in figure.layout.title.text.replace("<br>", " ")
    dark = view.to_plotly(theme="dark")
    assert dark.layout.template == pio.templates["transformer_lab_dark"]
    assert figure.layout.template == pio.templates["transformer_lab"]
    for trace, other in zip(figure.data, dark.data, strict=True):
        assert (trace.type, trace.name) == (other.type, other.name)


def test_a_notebook_keeps_numbers_and_a_picture_and_asks_no_network(made):
    from IPython.core.formatters import DisplayFormatter

    figure = made("HeadView").to_plotly()
    data, metadata = figure._repr_mimebundle_()
    # With a PNG, JupyterLab's plotly would show it until hovered.
    assert set(data) == {MIME, "image/jpeg", "text/plain"}
    assert data[MIME]["data"][0]["type"] == "heatmap"
    assert len(json.dumps(data[MIME])) < 100_000
    assert metadata["image/jpeg"]["alt"].startswith("Transformer · layer 1, head 2. Layer 1")
    # IPython asks for the bundle only if this is not callable.
    assert not callable(figure._ipython_display_)
    # What a kernel sends: nothing for which plotly would fetch its script.
    assert set(DisplayFormatter().format(figure)[0]) == set(data)


def test_a_restyled_figure_stays_what_it_is(made):
    figure = made("MixView").to_plotly()
    figure.update_traces(marker_color="crimson", selector={"type": "bar"})
    assert type(figure.update_layout(height=200)) is type(figure)
    assert figure.data[0].marker.color == "crimson"


@pytest.mark.parametrize("facets", ["layer", "all"])
def test_heads_stand_beside_each_other(made, facets):
    view = made("HeadView")
    found = maps(view.to_plotly(facets=facets))
    if facets == "all":
        assert len(found) == 8
        np.testing.assert_allclose(found[6], view.trace.thumbnails(32)[1, 2].double(), rtol=1e-6)
    else:
        wanted = [heads_map(view, view.trace.pattern(1, head)) for head in range(4)]
        np.testing.assert_array_equal(found, wanted)


def test_a_selection_is_framed_and_hidden_keys_are_gaps(made):
    view = views.HeadView(made("HeadView").trace, layer=1, head=2)
    view.selected, view._options = (3, None), {"hide_first": True}
    figure = view.to_plotly()
    (shape,) = figure.layout.shapes
    assert (shape.x0, shape.x1, shape.y0, shape.y1) == (-0.5, 12.5, 2.5, 3.5)
    (z,) = maps(figure)
    assert np.isnan(z[:, 0]).all() and not np.isnan(z[3, 1:4]).any() and np.isnan(z[3, 4:]).all()


def test_cross_attention_has_words_of_both_texts(translation):
    figure = views.HeadView(translation, kind="cross").to_plotly()
    (z,) = maps(figure)
    assert z.shape == (9, 13) and not np.isnan(z).any()
    assert figure.layout.xaxis.ticktext[1] == "animal"
    assert figure.layout.yaxis.ticktext[1] == "L'"


@pytest.mark.parametrize("n", [1, 400])
def test_every_token_has_its_own_place(n):
    trace = tl.trace(small(n_ctx=400), torch.arange(n) % 50, labels=["<b>x</b>"] * n)
    figure = views.HeadView(trace).to_plotly()
    (trace_,) = figure.data
    assert np.shape(trace_.z) == (n, n)
    assert len(set(trace_.x)) == len(set(trace_.y)) == n
    shown = figure.layout.xaxis.ticktext[0] if n == 1 else trace_.x[7]
    # plotly interprets markup in labels.
    assert shown == "&lt;b&gt;x&lt;/b&gt;" if n == 1 else "7 &lt;b&gt;x&lt;/b&gt;"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"theme": "blue"}, "theme='blue' is not known; choose 'light' or 'dark'"),
        ({"facets": 3}, "facets=3 is not known; choose 'layer', 'all' or None"),
    ],
)
def test_what_is_not_known_is_refused(made, options, said):
    with pytest.raises(ValueError, match=said):
        made("HeadView").to_plotly(**options)


def test_plotly_is_loaded_when_a_figure_is_asked_for():
    code = """
import sys
from transformer_lab import views
for name in views.__all__:
    getattr(views, name)
view = views.MixView(["a", "b"], [0, 1], [[0, 0], [1, 1]])
view.to_html(), view.png()
print("plotly" in sys.modules, end=" ")
view.to_plotly()
print("plotly" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False True\n"
