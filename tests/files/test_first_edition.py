"""Files of the first edition (version 0.1.0, commit de09764) can be read: a model with its
tokenizer, a recurrent model, and a run that was stopped at step 4 of 6, all in first_edition/."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch

import transformer_lab as tl

FOLDER = Path(__file__).with_name("first_edition")


@pytest.fixture(scope="module")
def expected():
    """The model's outputs for the probe, computed by the first edition."""
    return json.loads((FOLDER / "expected.json").read_text())


@pytest.fixture(autouse=True)
def _nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


PROBE = torch.tensor([5, 6, 7, 8])


@pytest.mark.parametrize("folder", ["model", "run", "run/checkpoints/step-00000004"])
def test_a_model_gives_the_same_logits(folder, expected):
    model = tl.load_model(FOLDER / folder)
    torch.testing.assert_close(model(PROBE[None]), torch.tensor(expected["logits"]))


def test_a_text_model_gives_the_same_maps(expected):
    model = tl.TextModel.from_pretrained(FOLDER / "model")
    trace = model.trace_ids(PROBE)
    torch.testing.assert_close(trace.pattern(0), torch.tensor(expected["pattern"]))
    assert trace.key_tokens() == model.tokenizer.tokens(PROBE.tolist())


def test_a_recurrent_model_is_read():
    assert tl.load_model(FOLDER / "recurrent").config.d_model == 8


def test_a_run_is_read(expected):
    run = tl.Run(FOLDER / "run")
    assert run.checkpoints == [2, 4]
    assert run.snapshots == [0, 2, 4]
    assert [m["index"] for m in run.metrics()] == [1, 2, 3, 4]
    assert run.config()["model"]["d_model"] == 8
    kept = run.snapshot(4)["decoder"]
    torch.testing.assert_close(kept[0], torch.tensor(expected["pattern"]), atol=1e-4, rtol=0)
    assert run.trace(4).shape() == (4, 4)
    assert tl.views.RunView(run).figure().axes


class Data:
    """The data of the run."""

    seed = 0

    def batch(self, step):
        size = tl.load_model(FOLDER / "model").config.vocab_size
        rows = torch.randint(5, size, (2, 9), generator=torch.Generator().manual_seed(step))
        return rows[:, :-1], rows[:, 1:]


def test_a_run_goes_on(tmp_path):
    shutil.copytree(FOLDER / "run", tmp_path / "run")
    model = tl.Transformer(tl.load_model(FOLDER / "model").config)
    settings = dict(steps=6, checkpoint_every=2, snapshot_every=2, probe=PROBE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the resumed run will not be bitwise")  # another torch
        steps = list(tl.train(model, Data(), run=tl.Run(tmp_path / "run"), resume=True, **settings))
    assert [step.index for step in steps] == [5, 6]
    assert tl.Run(tmp_path / "run").checkpoints == [4, 6]
