"""Generation with every kind of cache under edits equals generation without a cache."""

from contextlib import nullcontext

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.adapters.families import T, text, tiny

NOTHING = lambda: tl.scale(layer=0, head=1, by=1.0)  # noqa: E731
EDITS = {
    "ablate": lambda: tl.ablate(layer=1, head=2),
    "cut key": lambda: tl.knock_out(layer=0, key=3),
    "cut edge": lambda: tl.knock_out(layer=0, head=0, query=4, key=3),
}
NONE = dict(use_cache=False)
CACHES = {
    "dynamic": dict(cache_implementation="dynamic"),
    "static": dict(cache_implementation="static"),
    "quantized": dict(cache_implementation="quantized", cache_config=dict(backend="fp8")),
}
NEAR = dict(rtol=0, atol=1e-4)


def written(model, given, edit, cache):
    """Logits of six generated tokens, [batch, step, vocab]."""
    options = dict(do_sample=False, max_new_tokens=6, min_new_tokens=6, output_logits=True)
    with nullcontext() if edit is None else tl.edit(model, edit):
        found = model.generate(**given, **options, **cache, return_dict_in_generate=True)
    return torch.stack(found.logits, 1)


FULL = ["llama", "deepseek_v3", "diffllama", "minimax_m3"]
WINDOWS = ["mistral", "gemma2", "gpt_oss", "mimo_v2_flash"]
BOTH = ["bart", "t5"]
CASES = [(name, cache) for name in FULL for cache in CACHES] + [
    (name, cache) for name in [*WINDOWS, *BOTH] for cache in ("dynamic", "static")
]


@pytest.mark.parametrize("left", [0, 3], ids=["whole", "padded"])
@pytest.mark.parametrize(("name", "cache"), CASES)
def test_a_cache_writes_what_is_written_without_one(name, cache, left):
    model = tiny(name)
    given = text(model, left=left)
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = given["decoder_input_ids"][:, :5]
    plain = written(model, given, None, CACHES[cache])
    assert_close(written(model, given, NOTHING(), CACHES[cache]), plain, **NEAR)
    if cache == "quantized":  # without a cache it is another model
        return
    for what, make in EDITS.items():
        truth = written(model, given, make(), NONE)
        if what != "cut edge":  # out of reach for every later window
            assert not torch.allclose(truth, plain, atol=1e-4), what
        assert_close(written(model, given, make(), CACHES[cache]), truth, **NEAR, msg=what)


@pytest.mark.parametrize("name", ["deepseek_v32", "glm_moe_dsa"])
def test_a_cache_that_is_no_whole_text_writes_what_it_does_without_edits(name):
    model = tiny(name)
    for cache in ("dynamic", "static"):
        plain = written(model, text(model), None, CACHES[cache])
        assert_close(written(model, text(model), NOTHING(), CACHES[cache]), plain, **NEAR)


@pytest.mark.parametrize("cuts", [(5, 6, 12), (6, 9, 12), (9, 12)])
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt_oss"])
@torch.no_grad()
def test_a_text_that_is_read_in_pieces_is_read_as_a_whole(name, static, cuts):
    model = tiny(name)
    ids = text(model, 12)["input_ids"]
    for what, make in {"nothing": NOTHING, **EDITS}.items():
        with tl.edit(model, make()):
            whole = model(ids, use_cache=False).logits
            cache = (
                T.StaticCache(config=model.config, max_cache_len=16)
                if static
                else T.DynamicCache(config=model.config)
            )
            pieces = [
                model(ids[:, a:b], cache=cache, use_cache=True).logits
                for a, b in zip((0, *cuts[:-1]), cuts, strict=True)
            ]
        assert_close(torch.cat(pieces, 1), whole, **NEAR, msg=what)
