"""Both halves of the view say the same of the same numbers."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from transformer_lab.views.patching.words import Metric, Spot, patching_sentence, spot_words

TEST = Path(__file__).parents[1] / "js" / "patching.test.mjs"
BACK = Metric("log-probability of “a”", "denoising", -12.54, -0.11)
AWAY = Metric("log-probability of “a”", "noising", -0.11, -12.54)


def head(exact, estimate, site="z"):
    return Spot(site, 1, 2, "", exact, estimate)


def cases():
    metrics = [
        BACK, AWAY, Metric("logit of “a” − logit of “b”", "denoising", 3.0, 1.5),
        Metric("f", "noising", 0.25, 0.75), Metric("g", "denoising", 2.0, 2.0 + 1e-9),
        Metric("h", "denoising", 0.0101, 0.0102),
    ]  # fmt: skip
    spots = [
        Spot(site, 3, 7, "·the", exact, estimate, shared=site == "q")
        for site in ("z", "q", "pattern", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
        for exact, estimate in ((12.345, 28.5), (None, -0.00004), (-0.006, None), (None, None), (1.25, -1.25))
    ]  # fmt: skip
    return [[vars(m), vars(s), patching_sentence(m, s)] for m in metrics for s in spots]


def test_a_cell_says_what_it_puts_back_and_takes_away():
    assert spot_words(BACK, head(12.4, 28.5)) == (
        "Head 2 of layer 1: puts 12.4 of 12.4 back (estimate 28.5)."
    )
    assert spot_words(BACK, head(-0.3, None)) == "Head 2 of layer 1: takes it 0.3 further away."
    assert spot_words(AWAY, head(-6.2, -0.01, "k")) == (
        "Head 2 of layer 1, k: takes 6.2 of 12.4 away (estimate 0.0)."
    )
    assert spot_words(AWAY, head(0.5, None)) == "Head 2 of layer 1: moves it 0.5 the other way."
    assert spot_words(BACK, head(None, 28.5)).endswith("28.5 of 12.4 back by an estimate, not measured.")  # fmt: skip
    assert spot_words(BACK, Spot("attn_out", 0, 5, "cat", 1.0, None)) == (
        "What attention of layer 0 adds at “cat” (5): puts 1.0 of 12.4 back."
    )
    assert patching_sentence(AWAY, head(None, None)) == (
        "Log-probability of “a”: −0.1 in the clean run, −12.5 in the corrupted one. From the corrupted "
        "run into the clean one, head 2 of layer 1 is not measured."
    )


def test_equal_metrics_have_nothing_to_recover():
    alike = Metric("logit of “a”", "denoising", 2.0, 2.0)
    told = patching_sentence(alike, head(0.5, 0.25))
    assert "2.0000 in the corrupted one, so there is nothing to recover." in told
    assert told.endswith("moves it by 0.5000 (estimate 0.2500).")


@pytest.mark.needs("node")
def test_the_browser_says_the_same(tmp_path):
    (tmp_path / "told.json").write_text(json.dumps(cases()))
    run = subprocess.run(
        ["node", "--test", str(TEST)], env=os.environ | {"TL_PATCHING": str(tmp_path / "told.json")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "skipped 0" in run.stdout
