"""The claims on the shipped model's card."""

import hashlib

import pytest
import torch

import transformer_lab as tl
from transformer_lab import heads
from transformer_lab.files.resources import resource

TEXT = "for key in self.keys:\n    if key not in self."


@pytest.fixture(scope="module")
def model() -> tl.TextModel:
    return tl.shipped("manual")


@pytest.fixture(scope="module")
def repeats(model) -> list[tl.Trace]:
    torch.manual_seed(0)
    return [tl.trace(model.model, torch.randint(5, 1024, (50,)).repeat(2)) for _ in range(4)]


def test_it_is_small_and_is_the_one_on_the_card(model):
    folder = resource("data", "models", "shipped")
    assert sum(f.stat().st_size for f in folder.iterdir() if f.suffix != ".py") < 3 * 2**20
    assert f"{model.model.n_parameters():,}" in (folder / "README.md").read_text("utf-8")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert sha256.startswith("f4193fa0"), "weights changed: measure the card's figures again"


def test_it_is_the_default_and_others_are_refused(model):
    assert tl.shipped().model.loaded_from == model.model.loaded_from == "shipped"
    with pytest.raises(ValueError, match="name must be 'manual' or 'stories', got 'storys'"):
        tl.shipped("storys")


def test_induction_heads(repeats):
    scores = torch.stack([heads.induction(t) for t in repeats]).mean(0)
    assert scores[2, 2].item() == pytest.approx(0.97, abs=0.02)
    assert scores[2, 0].item() == pytest.approx(0.75, abs=0.03)


def test_previous_token_heads(repeats):
    scores = torch.stack([heads.previous_token(t) for t in repeats]).mean(0)
    assert scores[1, 2] > 0.4


def test_what_ablation_does_to_its_prediction(model):
    def chance() -> float:
        return dict(model.predict(TEXT, k=1024))["key"]

    assert chance() == pytest.approx(0.31, abs=0.01)
    with tl.edit(model, tl.ablate(layer=2, head=2)):
        assert chance() == pytest.approx(0.02, abs=0.01)
    with tl.edit(model, tl.ablate(layer=0, head=2)):
        assert chance() == pytest.approx(0.48, abs=0.01)
