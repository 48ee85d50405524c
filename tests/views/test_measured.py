"""Measures, sweeps and curves of runs as plotly figures, and runs side by side."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.factories import Counting, learner
from transformer_lab.heads.measures import MEASURES
from transformer_lab.views import MixView, TrainingView

TEXT = "for key in self.keys:\n    if key not in self."


@pytest.fixture(scope="module")
def model():
    return tl.shipped("manual")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run on disk, one in a view, and one as steps: of 6, 6 and 4 steps."""
    root = tmp_path_factory.mktemp("runs")
    held = [Counting().batch(99)]
    options = dict(eval_batches=held, eval_every=2)
    list(tl.train(learner(), Counting(), steps=6, run=root / "first", **options))
    watch = TrainingView()
    list(tl.train(learner(), Counting(vocabulary=9), steps=6, watch=watch, **options))
    return root / "first", watch, list(tl.train(learner(), Counting(), steps=4))


def test_scores_are_a_map_with_their_own_numbers(model):
    scores = tl.heads.previous_token(model.trace(TEXT))
    figure = tl.to_plotly(scores, name="previous token")
    np.testing.assert_array_equal(figure.data[0].z, scores)
    assert figure.data[0].zmin == 0 and "layer %{y}, head %{x}" in figure.data[0].hovertemplate
    gap = scores.clone()
    gap[0, 0] = float("nan")  # a missing head
    assert np.isnan(tl.to_plotly(gap).data[0].z[0, 0])
    moved = tl.to_plotly(scores - scores.mean())
    assert moved.data[0].zmin == -moved.data[0].zmax
    dark = tl.to_plotly(scores, theme="dark")
    assert dark.data[0].colorscale != figure.data[0].colorscale


def test_a_sweep_has_its_labels(model):
    sweep = tl.sweep_heads(model, TEXT)
    figure = tl.to_plotly(sweep)
    np.testing.assert_array_equal(figure.data[0].z, sweep.values)
    assert (
        figure.layout.yaxis.title.text == "layer"
        and "log_prob" in figure.data[0].colorbar.title.text
    )
    assert list(figure.layout.xaxis.ticktext) == sweep.labels["head"]


def test_a_logit_is_bars_that_sum_to_it(model):
    found = tl.circuits.logit_attribution(model.trace(TEXT))
    figure = tl.to_plotly(found)
    assert sum(figure.data[0].x) == pytest.approx(found.logit, rel=1e-5)


@pytest.mark.parametrize("name", MEASURES)
def test_every_registered_measure_is_a_figure(model, name):
    trace = tl.trace(model.model, torch.arange(9) % 4, labels=["a", "·b", "c", "."] * 2 + ["a"])
    trace.name_with(model.tokenizer, special={"decoder": [[True] + 8 * [False]]})
    scores = MEASURES[name].score(trace)
    figure = tl.to_plotly(scores, name=name)
    np.testing.assert_array_equal(figure.data[0].z, scores)
    assert name in figure.data[0].colorbar.title.text and name in figure.layout.title.text


def test_splits_and_streams_are_figures(model):
    trace, circuits = model.trace(TEXT), tl.circuits
    score = circuits.score_by_dimension(trace, 1, 1, 5, 3)
    np.testing.assert_array_equal(tl.to_plotly(score).data[0].x, score.products)
    by_source = circuits.score_by_source(trace, 1, 1, 5, 3)
    figure = tl.to_plotly(by_source)
    assert sum(figure.data[0].x) == pytest.approx(score.scaled, rel=1e-4)
    assert figure.layout.xaxis.title.text == "score"
    lens = circuits.logit_lens(trace, positions=[4, 7])
    figure = tl.to_plotly(lens)
    np.testing.assert_array_equal(figure.data[0].z, lens.answer_probability)
    assert list(figure.layout.xaxis.ticktext) == ["4", "7"]
    share = circuits.block_share(trace)
    figure = tl.to_plotly(share, theme="dark")
    np.testing.assert_array_equal(figure.data[0].z, share.share.median(-1).values)
    assert list(figure.layout.yaxis.ticktext) == list(share.parts)


def test_one_axis_is_bars_and_a_view_its_own_figure():
    assert tl.to_plotly(torch.tensor([1.0, -2.0]), axes=["part"]).data[0].x == (1.0, -2.0)
    view = MixView(["a", "b"], [0, 1], [[0, 0], [1, 1]])
    assert tl.to_plotly(view).data[0].type == "bar"


def test_runs_stand_beside_each_other(runs):
    folder, watch, steps = runs
    found = tl.compare_runs({"Adam": [folder, watch], "short": steps})
    losses = [[row["loss"] for row in tl.Run(folder).metrics()], [s.loss for s in watch.history]]
    mean = found.mean("Adam")
    np.testing.assert_allclose(mean[:, 1], np.mean(losses, 0))
    assert mean[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    lines = found.to_plotly().data
    assert [line.name for line in lines] == ["Adam, run 0", "Adam, run 1", "Adam", "short"]
    assert [line.showlegend for line in lines] == [False, False, True, True]
    assert {line.legendgroup for line in lines[:3]} == {"Adam"}
    for line, wanted in zip(
        lines, [*losses, np.mean(losses, 0), [s.loss for s in steps]], strict=True
    ):
        np.testing.assert_allclose(line.y, wanted)
    ends = sorted(loss[-1] for loss in losses)
    assert found.sentence == (
        f"Loss, nats a token, at their last steps: Adam {mean[-1, 1]:.2f} (mean of 2 runs, "
        f"{ends[0]:.2f} to {ends[1]:.2f}); short {steps[-1].loss:.2f}."
    )
    assert found._repr_mimebundle_()[0]["image/png"][:4] == b"\x89PNG"
    assert "image/jpeg" in found.to_plotly()._repr_mimebundle_()[0]


def test_held_out_loss_and_names_of_folders(runs):
    folder, watch, steps = runs
    found = tl.compare_runs([folder, tl.Run(folder), watch], of="eval_loss")
    assert list(found.seeds) == ["first", "run 2"] and len(found.seeds["first"]) == 2
    assert found.seeds["first"][0][:, 0].tolist() == [2, 4, 6]
    (alone,) = tl.compare_runs(steps).to_plotly().data
    assert alone.name == "run" and alone.y == tuple(s.loss for s in steps)
    assert tl.to_plotly(watch.history).data[0].y == tuple(s.loss for s in watch.history)


def test_runs_of_different_lengths_have_a_mean_where_both_are(runs):
    folder, _, steps = runs
    assert tl.compare_runs({"a": [folder, steps]}).mean("a")[:, 0].tolist() == [1, 2, 3, 4]
    none = tl.compare_runs({"a": [steps[:1], steps[1:]]})
    assert len(none.mean("a")) == 0 and "a: 2 runs with no step in common" in none.sentence
    assert len(none.to_plotly().data) == 3


@pytest.mark.parametrize(
    ("given", "of", "said"),
    [
        ({}, "loss", "runs is empty; give a name"),
        ({"a": []}, "loss", "is empty; give a name"),
        ({"a": 3}, "loss", "run 'a' is a int; give a Run"),
        ({"a": [{"index": 1, "loss": 2.0}]}, "grad", "of='grad' is not in run 'a'; it has loss"),
        ({"a": [{"index": 1, "loss": None}]}, "loss", "run 'a' has no loss at any step"),
    ],
)
def test_what_is_no_run_is_refused(given, of, said):
    with pytest.raises(ValueError, match=said):
        tl.compare_runs(given, of)


@pytest.mark.parametrize(
    ("found", "options", "said"),
    [
        (object(), {}, "found is a object"),
        (torch.zeros(2, 2, 2), {}, r"shape \[2, 2, 2\]"),
        (torch.zeros(0), {}, r"found has shape \[0\]"),
        (
            torch.zeros(2, 2),
            {"labels": {"head": ["a"]}},
            r"labels\['head'\] has 1 entries; the axis has 2",
        ),
    ],
)
def test_what_is_no_measure_is_refused(found, options, said):
    with pytest.raises(ValueError, match=said):
        tl.to_plotly(found, **options)
