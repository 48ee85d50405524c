"""Weights embedded in pages, in 32, 16 and 8 bits: the engine computes what PyTorch does with the
same weights, and refuses damaged files."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import transformer_lab as tl
from tests.factories import small
from tests.views.engine.node import answers, carried_files, floats
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views.pages.carried import carried
from transformer_lab.views.pages.precision import unpacked

pytestmark = pytest.mark.needs("node")
TEXT = "the animal did not cross the street because it was too tired"
DAMAGES = 60  # per model
OPTIONS = (
    ("decoder", dict(positions="learned")),
    ("encoder", dict(positions="relative", head_transform=True)),
    ("encoder-decoder", dict(positions="rotary", tie_head=False, n_kv_heads=2)),
)


def models():
    tokenizer = WordTokenizer.train(TEXT)
    for turn, (kind, options) in enumerate(OPTIONS):
        model = small(
            kind, seed=turn, vocab_size=tokenizer.vocab_size, noise=0.2, sharpness=2.0, **options
        )
        for precision in ("float32", "float16", "int8"):
            yield tl.TextModel(model, tokenizer, kind), precision


def written(folder, name, found, damages):
    info = dict(found.blocks[1].info)
    return carried_files(folder, name, found.about, found.weights, info, text=TEXT, damages=damages)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carried")
    cases = [(model, precision, carried(model, precision)) for model, precision in models()]
    told = [written(folder, f"model{i}", found, DAMAGES) for i, (*_, found) in enumerate(cases)]
    return list(
        zip(cases, answers("run_carried.mjs", folder, dict(models=told, seed=1)), strict=True)
    )


def test_the_engine_has_the_same_weights_bit_for_bit(results):
    for (_, precision, found), result in results:
        wanted = unpacked(load(found.weights))
        assert set(result["tensors"]) == set(wanted), precision
        for name, t in wanted.items():
            assert np.array_equal(floats(result["tensors"][name]), t.flatten().numpy()), name


def test_the_engine_predicts_what_pytorch_does_with_these_weights(results):
    for (model, precision, found), result in results:
        again = tl.Transformer(model.model.config).eval()
        again.load_state_dict(unpacked(load(found.weights)), strict=False)
        trace = tl.TextModel(again, model.tokenizer, model.name).trace(TEXT)
        logits = torch.tensor(floats(result["logits"])).view(trace.logits[0].shape)
        torch.testing.assert_close(logits, trace.logits[0], atol=1e-4, rtol=1e-4)
        if precision == "int8":  # they are not the model's own weights
            own = model.trace(TEXT)
            assert (
                own.logits.shape != trace.logits.shape
                or (own.logits - trace.logits).abs().max() > 1e-2
            )


def test_whatever_is_not_as_it_was_written_is_refused(results):
    assert len(results) * DAMAGES >= 500
    assert [taken for _, result in results for taken in result["taken"]] == []


@pytest.mark.parametrize("change", ["missing", "short", "halves"])
def test_8_bits_without_a_scale_for_each_row_are_refused(change, tmp_path):
    """A file by somebody else, with a valid checksum."""
    from dataclasses import replace

    (model, _), *_ = models()
    found = carried(model, "int8")
    tensors = load(found.weights)
    name = "embedding.weight/scale"
    if change == "missing":
        del tensors[name]
    else:
        tensors[name] = (
            tensors[name][:-1].clone() if change == "short" else tensors[name].to(torch.int8)
        )
    told = written(tmp_path, "model", replace(found, weights=save(tensors)), 0)
    refused = "embedding.weight has 8 bits and not a scale for each of its rows"
    with pytest.raises(AssertionError, match=refused):
        answers("run_carried.mjs", tmp_path, dict(models=[told], seed=1))
