"""One score as the sum of its parts, by dimension and by source."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import maps_only, small
from tests.missing import package
from transformer_lab.analysis.circuits import row_scores, score_by_dimension, score_by_source
from transformer_lab.tracing.trace import TraceError

POSITIONS = {
    "learned": tl.Learned(),
    "sinusoidal": tl.Sinusoidal(),
    "none": tl.NoPositions(),
    "rotary": tl.Rotary(),
    "alibi": tl.ALiBi(),
}
EACH_SCHEME = pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
EACH_KIND = pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])


build = partial(small, noise=0.1, sharpness=2, n_layers=3)


def traced(kind="decoder", **options):
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, :2] = False  # left padding: positions count from the first real token
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 50, (2, 7), generator=generator)
    target = torch.randint(1, 50, (2, 5), generator=generator) if "-" in kind else None
    return tl.trace(build(kind, **options), tokens, target, mask=mask)


def cells(trace):
    for kind in trace.kinds:
        for layer, head, query, key in ((0, 1, 4, 3), (2, 3, 4, 2), (2, 0, 3, 3)):
            yield kind, layer, head, query, key


def raw_scores(trace, layer, head, kind, batch):
    """q·k·scale before bias and mask, from the recorded call."""
    call = trace.call(layer, kind=kind)
    q = call.query[batch, head]
    k = call.key[batch, head // (call.n_heads // call.key.shape[1])]
    return q @ k.T * call.scale


@EACH_SCHEME
@EACH_KIND
@pytest.mark.parametrize(
    "options", [dict(), dict(n_kv_heads=2, qk_norm=True, norm="rms")], ids=["plain", "modern"]
)
def test_both_splits_add_up_to_the_score(positions, kind, options):
    trace = traced(kind, positions=positions, **options)
    seen = set()
    for site, layer, head, query, key in cells(trace):
        for batch in (0, 1):
            raw = raw_scores(trace, layer, head, site, batch)[query, key]
            given = dict(kind=site, batch=batch)
            dims = score_by_dimension(trace, layer, head, query, key, **given)
            assert_close(dims.products.sum(), raw, rtol=0, atol=1e-4)
            assert dims.scaled == pytest.approx(float(raw), abs=1e-4)
            sources = score_by_source(trace, layer, head, query, key, **given)
            assert_close(sources.parts.sum(), raw, rtol=0, atol=1e-4)
            assert_close(sources.by_key().sum(), raw, rtol=0, atol=1e-4)
            names = [s.name for s in sources.key_sources]
            assert len(set(names)) == len(names) == sources.parts.shape[1]
            where = "encoder " if site == "cross" else ""
            assert all(name.startswith(where) for name in names)
            assert (f"{where}position embedding" in names) == positions.build(
                d_model=32, n_heads=4, d_head=8, n_ctx=64
            ).adds_embedding
            assert dims.score == float(trace.scores(layer, head, **given)[query, key])
            assert dims.weight == pytest.approx(
                float(trace.pattern(layer, head, **given)[query, key])
            )
            assert dims.capped + dims.bias == pytest.approx(dims.score, abs=1e-4)
            seen.update(names)
    assert "layer 1, head 2" in seen
    assert ("encoder layer 2, head 0" in seen) == (kind == "encoder-decoder")
    assert ("layer 0, cross head 0" in seen) == (kind == "encoder-decoder")


@pytest.mark.parametrize("kind", ["encoder", "encoder-decoder"])
def test_norms_after_adding_are_held_too(kind):
    trace = traced(kind, norm_first=False)
    for site, layer, head, query, key in cells(trace):
        for batch in (0, 1):
            raw = raw_scores(trace, layer, head, site, batch)[query, key]
            found = score_by_source(trace, layer, head, query, key, kind=site, batch=batch)
            assert found.total == pytest.approx(float(raw), abs=1e-3 * max(1, abs(float(raw))))
            names = {s.name.removeprefix("encoder ") for s in found.key_sources}
            assert {"token embedding", "biases"} <= names
            assert site == "cross" or ("layer 0, MLP" in names) == (layer > 0)


def test_alibi_is_a_part_of_its_own():
    trace = traced(positions=tl.ALiBi())
    found = score_by_dimension(trace, 1, 0, 5, 2)
    # One bias fits every query: slope · (key − last key), since softmax ignores a row's constant.
    assert found.bias == pytest.approx(2**-2 * (2 - 6))
    assert found.score == pytest.approx(found.scaled + found.bias, abs=1e-5)


def test_what_may_not_be_looked_at_has_a_dot_product_all_the_same():
    found = score_by_dimension(traced(), 0, 0, 2, 5)
    assert found.bias == found.score == -torch.inf
    assert found.weight == 0
    assert found.dot != 0


def test_rotary_pairs_are_what_turns_together():
    model = build(positions=tl.Rotary())
    trace = tl.trace(model, torch.tensor([[5, 6, 7, 5, 6, 7]]))
    one, two = (score_by_dimension(trace, 0, 1, q, k) for q, k in ((2, 1), (5, 4)))
    # The same tokens at the same distance: pairs agree, single dimensions do not.
    assert_close(one.by_pair(), two.by_pair(), rtol=0, atol=1e-5)
    assert (one.products - two.products).abs().max() > 1e-3
    assert float(one.by_pair().sum()) == pytest.approx(one.scaled, abs=1e-5)
    with pytest.raises(ValueError, match="rotary"):
        score_by_dimension(traced(positions=tl.Learned()), 0, 0, 2, 1).by_pair()


def test_above_mean_leaves_out_what_every_key_shares():
    trace = traced(positions=tl.Learned())
    found = score_by_source(trace, 2, 1, 5, 3, above_mean=True)
    raw = raw_scores(trace, 2, 1, "decoder", 0)[5, :6]
    assert found.total == pytest.approx(float(raw[3] - raw.mean()), abs=1e-4)
    dims = score_by_dimension(trace, 2, 1, 5, 3, above_mean=True)
    assert float(dims.products.sum()) == pytest.approx(found.total, abs=1e-4)
    assert dims.scaled == pytest.approx(float(raw[3]), abs=1e-4)
    biases = [s.part for s in found.key_sources].index("biases")
    shift = trace.model.decoder.blocks[2].norm1.bias
    assert shift.abs().max() > 0.01  # there is a bias to omit
    assert float(found.by_key()[biases]) == pytest.approx(0, abs=0.3)
    plain = score_by_source(trace, 2, 1, 5, 3)
    assert abs(float(plain.by_key()[biases])) > abs(float(found.by_key()[biases]))


def test_padding_is_no_competitor():
    trace = traced(positions=tl.Learned())
    found = score_by_source(trace, 1, 1, 5, 3, above_mean=True, batch=1)
    raw = raw_scores(trace, 1, 1, "decoder", 1)[5, 2:6]
    assert found.total == pytest.approx(float(raw[1] - raw.mean()), abs=1e-4)
    scores, weights = row_scores(trace, 1, 1, 5, batch=1)
    assert torch.isinf(scores[:2]).all() and torch.isinf(scores[6])
    assert_close(scores.softmax(-1), weights)


def test_an_induction_heads_key_comes_from_a_previous_token_head():
    """The shipped model's head (2, 2) attends to what followed the last “·in”; that key was marked
    by a previous-token head."""
    model = tl.shipped("manual")
    trace = model.trace("for key in self.keys:\n    if key not in self.")
    tokens = trace.query_tokens()
    query, key = 12, 3  # the second “·in” attends to what followed the first
    assert tokens[query] == tokens[key - 1] == "·in"
    assert trace.pattern(2, 2)[query].argmax() == key
    found = score_by_source(trace, 2, 2, query, key, above_mean=True)
    heads = [(name, value) for name, value in found.ranked() if "head" in name]
    best, value = heads[0]
    assert value > 0.2 * found.total > 0
    layer, head = int(best.split()[1][0]), int(best.split()[-1])
    assert trace.pattern(layer, head)[key, key - 1] > 0.5


def test_what_cannot_be_split_says_why():
    trace = traced()
    for given, message in (
        (dict(layer=3, head=0, query=1, key=1), r"layer=3 is outside 0 … 2"),
        (dict(layer=0, head=4, query=1, key=1), r"head=4 is outside 0 … 3"),
        (dict(layer=0, head=0, query=7, key=1), r"query=7 is outside the 7 tokens"),
        (dict(layer=0, head=0, query=1, key=-1), r"key=-1 is outside the 7 tokens"),
    ):
        for split in (score_by_dimension, score_by_source):
            with pytest.raises(TraceError, match=message):
                split(trace, **given)
    lean = tl.trace(build(), torch.arange(6), keep="maps")
    assert score_by_dimension(lean, 1, 0, 3, 2).products.shape == (8,)
    assert score_by_source(lean, 1, 0, 3, 2).parts.shape == (7, 7)


def test_dimensions_of_hugging_face_models():
    transformers = package("transformers")
    config = transformers.Gemma2Config(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=64,
        sliding_window=4,
        attn_logit_softcapping=2.0,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    trace = tl.trace(transformers.Gemma2ForCausalLM(config).eval(), torch.arange(3, 9))
    found = score_by_dimension(trace, 1, 3, 5, 4)
    assert found.softcap == 2.0
    assert abs(found.capped - found.scaled) > 0
    assert found.score == pytest.approx(found.capped + found.bias, abs=1e-5)
    sources = score_by_source(trace, 1, 3, 5, 4)
    assert sources.total == pytest.approx(found.scaled, abs=1e-5)
    assert sources.softcap == 2.0
    with pytest.raises(TraceError, match="gives attention maps only"):
        score_by_dimension(maps_only(), 0, 0, 2, 1)
