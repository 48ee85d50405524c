"""The sentence about a cell."""

from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.modules import VIEWS

SCENE = VIEWS / "patching" / "scene.js"


def metric_of(*values):
    """In words, the direction, and the metric in the patched run and in the run patched in."""
    return call(SCENE, "metricOf", *values)


BACK = metric_of("log-probability of “a”", "denoising", -12.54, -0.11)
AWAY = metric_of("log-probability of “a”", "noising", -0.11, -12.54)


def head(metric, exact, estimate, site="z", **more):
    cell = dict(site=site, layer=1, place=2, label="", shared=False) | more
    return call(SCENE, "spotOf", metric, cell | dict(exact=exact, estimate=estimate))


def test_a_cell_says_what_it_restores_and_removes():
    assert head(BACK, 12.4, 28.5) == "Head 2 of layer 1 restores 12.4 of 12.4 (estimate 28.5)."
    assert head(BACK, -0.3, None) == "Head 2 of layer 1 moves it 0.3 further away."
    assert head(AWAY, -6.2, -0.01, "k") == (
        "Head 2 of layer 1, k removes 6.2 of 12.4 (estimate 0.0)."
    )
    assert head(AWAY, 0.5, None) == "Head 2 of layer 1 moves it 0.5 the other way."
    assert head(BACK, None, 28.5).endswith("restores an estimated 28.5 of 12.4 (not measured).")
    assert head(BACK, None, -28.5).endswith(
        "moves it an estimated 28.5 further away (not measured)."
    )
    assert head(BACK, 1.0, None, "attn_out", label="cat", place=5, layer=0) == (
        "What attention adds in layer 0 at “cat” (5) restores 1.0 of 12.4."
    )
    assert head(AWAY, None, None, "q", shared=True) == (
        "Key-value head 2 of layer 1, q is not measured."
    )


def test_equal_metrics_have_nothing_to_restore():
    alike = metric_of("logit of “a”", "denoising", 2.0, 2.0)
    assert alike["alike"] and alike["sign"] == 1
    assert head(alike, -0.5, 0.25).endswith("changes it by −0.5000 (estimate 0.2500).")
