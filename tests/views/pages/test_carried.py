"""A model embedded in a page: the page holds that model, and anything else is refused."""

import base64
import gzip
import html
import json
import re
import zlib

import pytest
import torch
from safetensors.torch import load
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab.tokenizers import CharTokenizer, WordTokenizer
from transformer_lab.views.pages.carried import carried, engine_script, why_no_other_text, why_not
from transformer_lab.views.pages.export import page
from transformer_lab.views.pages.tokenizers import packed_tokenizer

NAME = "</template><script>alert(1)</script>"


def text_model(name=NAME, **options):
    tokenizer = CharTokenizer.train("abc")
    model = small("decoder", vocab_size=tokenizer.vocab_size, noise=0.1, **options)
    return tl.TextModel(model, tokenizer, name)


def in_page(text):
    """Info and buffers of the model's block, as a page's script reads them."""
    found = re.search(r'<template data-block="model" data-info="([^"]*)"([^>]*)>([^<]*)<', text)
    told, data = json.loads(html.unescape(found[1])), base64.b64decode(found[3])
    data = gzip.decompress(data) if "data-gzip" in found[2] else data
    sizes = told["sizes"]
    assert sum(sizes) == len(data)
    return told["info"], [data[: sizes[0]], data[sizes[0] :]]


def test_what_a_page_holds_is_the_model():
    model = text_model()
    found = carried(model)
    text = "".join(page({"_esm": "", "_css": ""}, {}, title="t", blocks=found.blocks))
    assert "<script>alert" not in text
    info, (about, weights) = in_page(text)
    assert info["checksums"] == [zlib.crc32(about), zlib.crc32(weights)]
    told = json.loads(about)
    vocabulary = [name for (name,) in told["tokenizer"]["backend"]["model"]["vocab"]]
    assert told["name"] == NAME and vocabulary == [*model.tokenizer.vocabulary]
    assert told["config"]["layers"] == {"decoder": model.model.config.n_layers}
    assert told["graph"]["weights"].keys() == load(weights).keys()
    tensors = load(weights)
    again = tl.Transformer(model.model.config)
    again.load_state_dict({name: t.float() for name, t in tensors.items()}, strict=False)
    for name, weight in model.model.named_parameters():
        assert tensors[name].dtype == torch.float16
        assert (again.get_parameter(name) - weight).abs().max() <= found.rounded
    assert 0 < found.rounded < 1e-2


def test_the_size_that_is_told_is_the_pages():
    found = carried(text_model())
    state = {"_esm": "", "_css": ""}
    without, whole = (
        "".join(page(state, {}, title="t", blocks=blocks)) for blocks in ([], found.blocks)
    )
    assert found.size == len(whole) - len(without)


def test_a_number_that_16_bits_cannot_hold_keeps_its_32():
    model = text_model()
    with torch.no_grad():
        model.model.decoder.norm.bias[0] = 1e6
    tensors = load(carried(model).weights)
    assert tensors["decoder.norm.bias"].dtype == torch.float32
    assert float(tensors["decoder.norm.bias"][0]) == 1e6
    assert tensors["decoder.norm.weight"].dtype == torch.float16
    with torch.no_grad():
        model.model.decoder.norm.bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"decoder\.norm\.bias has values that are not finite"):
        carried(model)


def test_a_translator_takes_both_vocabularies_along():
    source, target = WordTokenizer.train("a b c"), CharTokenizer.train("xyz")
    sizes = dict(vocab_size=source.vocab_size, target_vocab_size=target.vocab_size)
    model = small("encoder-decoder", **sizes)
    told = json.loads(carried(tl.TextModel(model, source, "t", target_tokenizer=target)).about)
    assert told["targetTokenizer"] == packed_tokenizer(target) != told["tokenizer"]


def test_what_cannot_travel_says_why():
    model = text_model("own")
    assert why_not(model) == ""
    config = tl.RecurrentConfig(vocab_size=8, d_model=8)
    recurrent = tl.TextModel(tl.Recurrent(config), model.tokenizer, "lstm")
    with pytest.raises(ValueError, match="lstm cannot travel in a page: a Recurrent does not run"):
        carried(recurrent)

    class Other(CharTokenizer):
        pass

    class Foreign:
        vocab_size = 8

        def tokens(self, ids):
            return [str(i) for i in ids]

    assert why_no_other_text(tl.TextModel(model.model, Other.train("abc"), "x")) == ""
    foreign = tl.TextModel(model.model, Foreign(), "foreign")
    assert "a Foreign does not run in a page" in why_no_other_text(foreign)


def test_a_tokenizer_of_hugging_faces_travels_where_the_page_knows_its_parts():
    transformers = package("transformers")
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    engine.add_special_tokens(["</s>"])
    inner = transformers.PreTrainedTokenizerFast(tokenizer_object=engine, eos_token="</s>")
    model = tl.TextModel(text_model().model, inner, "theirs")
    told = json.loads(carried(model).about)["tokenizer"]
    assert told["pieces"] and told["size"] == 1
    assert told["ids"] == dict(pad=None, bos=None, eos=0, unk=None, mask=None)
    inner.backend_tokenizer.pre_tokenizer = pre_tokenizers.UnicodeScripts()
    why = "the pre_tokenizer UnicodeScripts of its tokenizer does not run in a page"
    assert why_no_other_text(model) == why
    made = carried(model)
    told = json.loads(made.about)["tokenizer"]
    assert told["why"] == why
    assert why in made.note


def test_the_engine_is_a_script_of_its_own():
    script = engine_script()
    assert "onmessage = " in script and len(script) < 310_000
    assert not re.search(r"^\s*(import|export)\b", script, re.M)
