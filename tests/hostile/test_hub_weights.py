"""Hugging Face folders whose weights do not fit the model: wrong and random ones are named."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import transformer_lab as tl
from tests.hostile.hub_folders import (
    FC,
    WAYS,
    bert,
    change,
    configure,
    gpt2,
    kept,
    same_weights,
    words,
)
from tests.missing import package
from transformer_lab import pretrained
from transformer_lab.files.paths import FileError
from transformer_lab.pretrained.weights import check

T = package("transformers")
pytestmark = pytest.mark.hostile_ckpt


def nan(tensors):
    tensors[FC][3] = float("nan")


def infinite(tensors):
    tensors["transformer.wte.weight"][5, 2] = float("inf")


TENSORS = {
    "missing": (lambda t: t.pop(FC), rf"{FC} are missing"),
    "renamed": (
        lambda t: t.update({"transformer.h.1.mlp.up.bias": t.pop(FC)}),
        rf"{FC} are missing; transformer\.h\.1\.mlp\.up\.bias do not belong",
    ),
    "many missing": (
        lambda t: [t.pop(n) for n in list(t) if ".h.1." in n],
        r"and 8 more are missing",
    ),
    "left over": (
        lambda t: t.update({"transformer.h.2.mlp.c_fc.bias": torch.zeros(64)}),
        r"transformer\.h\.2\.mlp\.c_fc\.bias do not belong",
    ),
    "an adapter": (
        lambda t: t.update({"transformer.h.1.attn.lora_A.weight": torch.zeros(2, 2)}),
        r"lora_A\.weight do not belong",
    ),
    "another shape": (
        lambda t: t.update({FC: torch.zeros(63)}),
        rf"{FC} \(\[63\] for \[64\]\) have another shape",
    ),
    "not a number": (nan, rf"{FC} hold numbers that are not finite"),
    "infinite": (infinite, r"wte\.weight hold numbers that are not finite"),
    "int32": (lambda t: t.update({FC: t[FC].int()}), rf"{FC} are integers"),
    "bool": (lambda t: t.update({FC: t[FC] > 0}), rf"{FC} are integers or booleans"),
}


@WAYS
@pytest.mark.parametrize("case", TENSORS)
def test_weights_that_are_not_the_models_are_named(folder, case, load):
    edit, message = TENSORS[case]
    change(folder, edit)
    with pytest.raises(ValueError, match=message):
        load(folder)


GOOD = {
    "BERT with its pretraining heads": lambda: bert("BertForPreTraining"),
    "BERT, bare": lambda: bert("BertModel"),
    "a classifier": lambda: bert("BertForSequenceClassification"),
    "a tagger, which has no pooler": lambda: bert("BertForTokenClassification"),
    "GPT-2, bare": lambda: gpt2().transformer,
    "ELECTRA's discriminator": lambda: T.ElectraForPreTraining(
        T.ElectraConfig(
            vocab_size=52,
            embedding_size=16,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
        )
    ),
    "BART, bare": lambda: T.BartModel(
        T.BartConfig(
            vocab_size=52,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            decoder_start_token_id=2,
            max_position_embeddings=40,
        )
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_checkpoints_load_as_they_did(tmp_path, case):
    model = GOOD[case]().eval()
    loaded = tl.TextModel.from_pretrained(kept(model, tmp_path / "good"))
    assert loaded.random_weights == ()
    compared = same_weights(loaded.model, model.state_dict())
    assert compared >= len(model.base_model.state_dict()) - 2, "all but a pooler's"


def test_what_old_versions_kept_is_no_damage(tmp_path):
    """Pretraining heads beside a masked model, buffers of position ids, a causal mask."""
    masked = kept(bert("BertForPreTraining"), tmp_path / "bert")
    configure(masked, architectures=["BertForMaskedLM"])
    ids = {"bert.embeddings.position_ids": torch.arange(512)[None]}
    change(masked, lambda t: t.update(ids))
    assert type(tl.TextModel.from_pretrained(masked).model).__name__ == "BertForMaskedLM"
    decoder = kept(gpt2(), tmp_path / "gpt2")
    mask = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 32, 32).tril().bool() for i in (0, 1)}
    change(decoder, lambda t: t.update(mask))
    assert tl.TextModel.from_pretrained(decoder).random_weights == ()


@WAYS
def test_missing_weights_that_were_allowed_are_named(folder, load):
    names = sorted(
        n for n in load_file(folder / "model.safetensors") if n.startswith("transformer.h.1.mlp")
    )
    change(folder, lambda t: [t.pop(name) for name in names])
    model = load(folder, allow_missing=True)
    assert list(model.random_weights) == names
    assert load(kept(gpt2(), folder.parent / "whole"), allow_missing=True).random_weights == ()
    change(folder, nan_in_wte)
    with pytest.raises(ValueError, match="not finite"):
        load(folder, allow_missing=True)


def nan_in_wte(tensors):
    tensors["transformer.wte.weight"][0, 0] = float("nan")


def test_every_view_of_random_weights_says_so_first(folder, tmp_path):
    names = [n for n in load_file(folder / "model.safetensors") if ".h.1.mlp" in n]
    change(folder, lambda t: [t.pop(name) for name in names])
    said = f"random weights: {min(names)} and {len(names) - 1} more were not in the file"
    model = tl.TextModel.from_pretrained(folder, allow_missing=True)
    ours = pretrained.load(folder, allow_missing=True)
    whole = tl.TextModel.from_pretrained(kept(gpt2(), tmp_path / "whole"))
    text = "the keys w1 w2"
    trace = model.trace(text)
    views = [
        tl.explore(model, text),
        tl.views.HeadView(trace),
        tl.views.HeadView(trace, title="Mine"),
        tl.views.ResidualView(trace),
        tl.views.WhyView(trace),
        tl.views.CompareView(whole.trace(text), trace),
        tl.views.HeadView(tl.trace(ours, trace.tokens)),
        tl.views.PositionView(model),
        tl.views.PositionView(ours, text=trace.tokens),
    ]
    training = tl.views.TrainingView(trace.tokens[0])
    training.start(ours, 3)
    for view in [*views, training]:
        assert view._title.startswith(said), type(view).__name__
        assert said in repr(view)
        assert first_line(view.figure()).startswith(said), type(view).__name__
        page = view.to_html()
        assert f"<title>{said}" in page
        assert f'"_title":"{said}' in page
    plain = tl.TextModel(gpt2().eval(), words(), "plain")
    for view in (tl.explore(plain, text), tl.views.HeadView(whole.trace(text))):
        assert "random" not in repr(view) + view._title


def first_line(figure: Any) -> str:
    texts = [*figure.texts, *(t for f in figure.subfigs for t in f.texts)]
    return max(texts, key=lambda text: text.get_position()[1]).get_text()


def test_random_weights_are_not_saved_as_the_models_own(folder, tmp_path):
    change(folder, lambda t: t.pop(FC))
    model = tl.TextModel.from_pretrained(folder, allow_missing=True)
    with pytest.raises(ValueError, match=rf"random weights: {FC} was not in the file"):
        model.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_none_is_found_wherever_it_stands(kind, bad):
    for size in (1, 7, 8, 33, 1000):
        for place in {0, size // 2, size - 1}:
            layer = torch.nn.Linear(size, 3)
            layer.weight.data = torch.randn(size, 3).to(kind).T
            check("here", values=layer)
            layer.weight.data[1, place] = bad
            with pytest.raises(FileError, match="weight hold numbers that are not finite"):
                check("here", values=layer)
    layer.weight.data = torch.empty(3, 0, dtype=kind)
    check("here", values=layer)
