"""Traces: exact, lazy, small, and leaving the model as it was."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from transformer_lab import ALiBi, Learned, MemoryBudgetError, Rotary, Tap
from transformer_lab.adapters.lookup import network_of
from transformer_lab.attention import AttentionCall, spread_heads
from transformer_lab.tracing import recording
from transformer_lab.tracing.maps import rows_told, thumbnail
from transformer_lab.tracing.trace import TraceError

KINDS = ["decoder", "encoder", "encoder-decoder"]
EACH_KIND = pytest.mark.parametrize("kind", KINDS)


build = partial(small, noise=0.1)


def tokens(*shape, seed=0):
    return torch.randint(1, 50, shape, generator=torch.Generator().manual_seed(seed))


def inputs(kind):
    """Two texts, the second one shorter; and targets where they are needed."""
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 4:] = False
    target = tokens(2, 5, seed=1) if kind == "encoder-decoder" else None
    return dict(tokens=tokens(2, 7), target=target, mask=mask)


class Watch(Tap):
    """Record values, heads' outputs and streams independently, as they pass."""

    def __init__(self):
        self.value, self.z, self.stream = {}, {}, {}

    def on_attention(self, call):
        self.value[call.site.kind, call.site.layer] = spread_heads(call.value, call.n_heads)
        return call

    def on_heads(self, call, z):
        self.z[call.site.kind, call.site.layer] = z
        return z

    def on_stream(self, name, site, x):
        self.stream[site.kind, site.layer, name] = x
        return x


def watched(model, **given):
    watch = Watch()
    model.add_tap(watch)
    with torch.no_grad():
        trace = tl.trace(model, **given)
    model.remove_tap(watch)
    return trace, watch


# -- exact ------------------------------------------------------------------------------------------


@EACH_KIND
@pytest.mark.parametrize(
    "options",
    [
        dict(positions=Rotary(), n_kv_heads=2),
        dict(positions=ALiBi()),
        dict(positions=Learned(), norm_first=False, qk_norm=True),
    ],
    ids=["rotary-grouped", "alibi", "learned-post"],
)
def test_a_map_times_the_values_is_what_the_heads_put_out(kind, options):
    """The lazily computed pattern is the one that the fused kernel used."""
    model = build(kind, **options)
    trace, watch = watched(model, **inputs(kind))
    for (site, layer), z in watch.z.items():
        for batch in range(2):
            pattern = trace.pattern(layer, kind=site, batch=batch)
            expected = pattern @ watch.value[site, layer][batch]
            assert_close(expected, z[batch], rtol=0, atol=1e-6)


@EACH_KIND
def test_rows_sum_to_one_and_look_at_nothing_that_is_hidden(kind):
    given = inputs(kind)
    trace = tl.trace(build(kind), **given)
    for site in trace.kinds:
        pattern = trace.pattern(1, kind=site, batch=1)
        assert_close(pattern.sum(-1), torch.ones(pattern.shape[:2]), rtol=0, atol=1e-6)
        if site == "decoder":
            assert not pattern.triu(1).any()
        if site != "decoder" or kind == "decoder":
            assert not pattern[..., 4:].any(), "padding is never looked at"


def test_the_ways_to_ask_for_a_map_agree():
    trace = tl.trace(build(n_kv_heads=2), tokens(1, 9))
    everything = trace.patterns()
    for layer in range(2):
        together = trace.pattern(layer)
        assert torch.equal(everything[layer], together)
        for head in range(4):
            alone = trace.pattern(layer, head)
            assert_close(alone, together[head], rtol=0, atol=1e-7)
            assert_close(trace.scores(layer, head).softmax(-1), alone, rtol=0, atol=1e-6)
            q, k, scale = trace.queries_keys(layer, head)
            later = torch.ones(9, 9, dtype=torch.bool).triu(1)
            rebuilt = (q @ k.T * scale).masked_fill(later, -torch.inf).softmax(-1)
            assert_close(rebuilt, alone, rtol=0, atol=1e-6)


def test_maps_of_several_layers_are_those_of_each():
    """Layers of one shape are computed together, one with a cut edge separately; in any order."""
    model, ids = build(n_layers=4, n_kv_heads=2), tokens(2, 9)
    with tl.edit(model, tl.knock_out(2, 1, query=5, key=3)):
        trace = tl.trace(model, ids)
    for layers in ([0, 1, 2, 3], [3, 1], [2]):
        found = trace.all_heads_of(layers, batch=1)
        for layer, maps in zip(layers, found, strict=True):
            assert_close(maps, trace.pattern(layer, batch=1), rtol=0, atol=1e-7)
    assert trace.all_heads_of([2])[0, 1, 5, 3] == 0 < trace.all_heads_of([1])[0, 1, 5, 3]
    trace.budget_mib = 0.001
    with pytest.raises(MemoryBudgetError):
        trace.all_heads_of([0, 1])


def test_queries_and_keys_alone_are_given_only_where_they_are_the_whole_story():
    given = inputs("decoder")
    assert tl.trace(build(), **given).queries_keys(0, 0) is None, "padding is in the map too"
    assert tl.trace(build(positions=ALiBi()), tokens(1, 7)).queries_keys(0, 0) is None
    cross = tl.trace(build("encoder-decoder"), tokens(1, 7), tokens(1, 5, seed=1))
    q, k, scale = cross.queries_keys(1, 2, kind="cross")
    expected = (q @ k.T * scale).softmax(-1)
    assert_close(expected, cross.pattern(1, 2, kind="cross"), rtol=0, atol=1e-6)


def test_thumbnails_of_very_long_texts_are_of_fewer_rows():
    """Up to 4 MiB of weights at once, but at least two rows for each of a thumbnail's."""
    counts = {n: rows_told(n, n, 32) for n in (1024, 1025, 4096, 8192, 16_384, 100_000)}
    assert counts == {1024: 1024, 1025: 256, 4096: 256, 8192: 128, 16_384: 64, 100_000: 64}
    query, key = torch.randn(2, 1, 2, 8192, 4, generator=torch.Generator().manual_seed(0))
    call = AttentionCall(query, key, None, None, True, 1.0)
    rows = torch.linspace(0, 8191, 128).round().long()
    expected = torch.stack([call.pattern(0, h, rows) for h in (0, 1)])
    expected = expected.unflatten(-1, (32, 256)).amax(-1).unflatten(1, (32, 4)).amax(2)
    assert_close(thumbnail(call, 32, 0), expected)


def test_thumbnails_are_max_pooled_maps():
    trace = tl.trace(build(), tokens(1, 48))
    expected = F.adaptive_max_pool2d(trace.patterns().flatten(0, 1)[None], (16, 16))[0]
    assert_close(trace.thumbnails(16).flatten(0, 1), expected)
    assert_close(trace.thumbnails(64), trace.patterns())


@EACH_KIND
def test_logits_are_the_models_own(kind):
    model, given = build(kind), inputs(kind)
    trace = tl.trace(model, **given)
    with torch.no_grad():
        expected = model(**given)
    assert_close(trace.logits, expected, rtol=0, atol=1e-6)
    best = expected[1, 2].softmax(-1).topk(3)
    found = trace.predictions(2, 3, batch=1)
    assert [token for token, _ in found] == [str(i) for i in best.indices.tolist()]
    assert_close(torch.tensor([p for _, p in found]), best.values)


@EACH_KIND
def test_a_model_in_bf16_has_nearly_the_maps_of_one_in_fp32(kind):
    given = inputs(kind)
    exact, rough = tl.trace(build(kind), **given), tl.trace(build(kind).bfloat16(), **given)
    for site in exact.kinds:
        pattern = rough.pattern(1, kind=site, batch=1)
        assert pattern.dtype == torch.float32
        assert_close(pattern, exact.pattern(1, kind=site, batch=1), rtol=0, atol=0.03)
        assert_close(pattern.sum(-1), torch.ones(pattern.shape[:2]), rtol=0, atol=1e-6)


def test_one_text_needs_no_batch_axis():
    model = build()
    one, batch = tl.trace(model, tokens(1, 7)[0]), tl.trace(model, tokens(1, 7))
    assert torch.equal(one.pattern(1), batch.pattern(1))
    assert torch.equal(tl.trace(model, tokens(1, 7)[0].tolist()).logits, batch.logits)


# -- the residual stream and values -----------------------------------------------------------------


@EACH_KIND
def test_the_stream_adds_up(kind):
    trace = tl.trace(build(kind), **inputs(kind))
    for site in ("encoder", "decoder"):
        if site not in trace.kinds:
            continue
        s = trace.residual(site, batch=1)
        added = s["attn_out"] + s.get("cross_out", torch.zeros(()))
        assert_close(s["resid_mid"], s["resid_pre"] + added)
        assert_close(s["resid_post"], s["resid_mid"] + s["mlp_out"])
        assert torch.equal(s["resid_pre"][1], s["resid_post"][0])
        norms = trace.residual_norms(site, batch=1)
        assert_close(norms[0], s["resid_pre"][0].norm(dim=-1))
        assert_close(norms[1:], s["resid_post"].norm(dim=-1))


def test_the_stream_of_a_post_norm_model_is_normalised_sums():
    model = build("encoder", norm_first=False)
    s = tl.trace(model, tokens(1, 7)).residual()
    for layer, block in enumerate(model.encoder.blocks):
        mid = block.norm1(s["resid_pre"] + s["attn_out"])
        post = block.norm3(s["resid_mid"] + s["mlp_out"])
        assert_close(s["resid_mid"][layer], mid[layer])
        assert_close(s["resid_post"][layer], post[layer])


@EACH_KIND
@pytest.mark.parametrize("keep", ["all", "maps"])
def test_value_weighted_contributions_sum_to_the_attention_output(kind, keep):
    """Σ over heads and keys of pattern · value · W_O is the layer's output minus its bias, and
    `value_weighted` is the length of each term."""
    model = build(kind, n_kv_heads=2)
    trace, watch = watched(model, **inputs(kind), keep=keep)
    layers = {m.site: m for m in model.tapped() if hasattr(m, "out")}
    for site, attention in layers.items():
        weight = attention.out.weight.T.unflatten(0, (4, 8))  # [head, d_head, d_model]
        value = watch.value[site.kind, site.layer][1]
        name = "cross_out" if site.kind == "cross" else "attn_out"
        stream = "decoder" if site.kind == "cross" else site.kind
        out = watch.stream[stream, site.layer, name][1]
        pattern = trace.pattern(site.layer, kind=site.kind, batch=1)
        terms = pattern[..., None] * (value @ weight)[:, None]  # [head, query, key, d_model]
        assert_close(terms.sum((0, 2)), out - attention.out.bias, rtol=0, atol=3e-6)
        weighted = trace.value_weighted(site.layer, kind=site.kind, batch=1)
        assert_close(weighted, terms.norm(dim=-1), rtol=1e-4, atol=1e-6)
    assert trace.value_note == "‖value · W_O‖"


def test_values_alone_are_kept_where_they_are_small_and_the_stream_is_not(monkeypatch):
    model, ids = small("decoder"), tokens(1, 20)
    one = 4 * ids.numel() * network_of(model).size
    kept = {}
    for times, keep in ((5, "all"), (3.5, "values"), (2.5, "maps")):
        monkeypatch.setattr(recording, "KEEP_ALL_BELOW_MIB", times * one / 2**20)
        trace = kept[keep] = tl.trace(model, ids)
        assert (trace.call(0).value is None) == (keep == "maps")
        assert bool(trace._streams) == (keep == "all")
    for layer in range(kept["maps"].n_layers()):
        expected = kept["maps"].value_norms(layer)
        for keep in ("all", "values"):
            assert_close(kept[keep].value_norms(layer), expected)
    with pytest.raises(TraceError, match="keep='all'"):
        kept["values"].residual()


def test_value_norms_of_weights_that_have_changed_are_refused():
    model = build()
    trace = tl.trace(model, tokens(1, 7), keep="all")
    with torch.no_grad():
        model.decoder.blocks[0].attention.out.weight.mul_(2)
    with pytest.raises(TraceError, match="trace again"):
        trace.value_norms(0)
    assert trace.pattern(0).isfinite().all()


# -- the model is unchanged ------------------------------------------------------------------------


@EACH_KIND
def test_a_model_in_training_is_not_touched_and_traced_without_dropout(kind):
    model, given = build(kind, dropout=0.5), inputs(kind)
    expected = tl.trace(model, **given)
    model.train()
    model.decoder and model.decoder.norm.eval()  # a mixed state is kept too
    modes = [m.training for m in model.modules()]
    weights = {name: p.clone() for name, p in model.named_parameters()}
    random_state = torch.get_rng_state()
    trace = tl.trace(model, **given)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())
    for site in trace.kinds:
        assert torch.equal(trace.pattern(1, kind=site), expected.pattern(1, kind=site))
    assert torch.equal(trace.logits, expected.logits)


def test_nothing_hangs_on_the_model_afterwards_even_after_an_error():
    model = build()
    tl.trace(model, tokens(1, 7))

    class Boom(Tap):
        def on_heads(self, call, z):
            raise RuntimeError("boom")

    boom = Boom()
    model.add_tap(boom)
    with pytest.raises(RuntimeError, match="boom"):
        tl.trace(model, tokens(1, 7))
    model.remove_tap(boom)
    assert all(m.taps == () for m in model.tapped())


def test_a_trace_does_not_change_when_the_model_runs_again():
    model = build()
    trace = tl.trace(model, tokens(1, 7))
    before = trace.patterns()
    model(tokens(1, 7, seed=3))
    tl.trace(model, tokens(1, 9, seed=4))
    assert torch.equal(trace.patterns(), before)


def test_a_trace_holds_no_graph():
    trace = tl.trace(build(), tokens(1, 7))
    for x in (trace.logits, trace.pattern(0), trace.residual()["resid_mid"], trace.value_norms(0)):
        assert not x.requires_grad


# -- memory -----------------------------------------------------------------------------------------


@EACH_KIND
@pytest.mark.parametrize("keep", ["all", "maps"])
def test_memory_grows_with_the_length_and_not_with_its_square(kind, keep):
    model = build(kind, n_ctx=512)
    kept = []
    for n in (128, 256, 512):
        target = tokens(1, n, seed=1) if kind == "encoder-decoder" else None
        kept.append(tl.trace(model, tokens(1, n), target, keep=keep).kept_bytes())
    assert kept[1] / kept[0] == pytest.approx(2, rel=0.02)
    assert kept[2] / kept[1] == pytest.approx(2, rel=0.02)


def test_a_gpt2_small_shape_keeps_at_most_a_sixth_of_its_maps():
    """Each layer of GPT-2 small keeps the same amount, so two without feed-forward will do."""
    model = build(n_heads=12, d_model=768, n_ctx=1024, attention_only=True, positions=Learned())
    trace = tl.trace(model, tokens(1, 1024), keep="maps")
    maps = 2 * 12 * 1024 * 1024 * 4
    assert trace.kept_bytes() <= maps / 6


@pytest.mark.oomguard
def test_more_maps_than_the_budget_are_refused_with_a_way_out():
    trace = tl.trace(build(n_ctx=512), tokens(1, 512))
    mib = 2 * 4 * 512 * 512 * 4 / 2**20
    assert trace.patterns(budget_mib=mib).shape == (2, 4, 512, 512)
    with pytest.raises(MemoryBudgetError, match=r"8 MiB.*budget of 7 MiB.*pattern\(layer, head\)"):
        trace.patterns(budget_mib=mib - 1)
    trace.budget_mib = 3
    for ask in (trace.pattern, trace.scores, trace.value_weighted):
        with pytest.raises(MemoryBudgetError, match=r"4 MiB.*budget of 3 MiB"):
            ask(0)
        assert ask(0, 1).shape == (512, 512), "one map fits"


@pytest.mark.oomguard
def test_what_would_never_fit_is_refused_before_anything_is_allocated():
    model = build(n_heads=1, d_model=2, n_layers=1, n_ctx=30_000, attention_only=True, d_head=2)
    trace = tl.trace(model, tokens(1, 30_000), keep="maps")
    with pytest.raises(MemoryBudgetError, match="3,433 MiB"):
        trace.pattern(0)


# -- words and errors -------------------------------------------------------------------------------


def test_labels_and_special_tokens():
    given = inputs("encoder-decoder")
    labels = [list("abcdefg"), list("hijklmn")]
    trace = tl.trace(build("encoder-decoder"), **given, labels=labels)
    assert trace.key_tokens("cross", batch=1) == list("hijklmn")
    assert trace.query_tokens("cross") == [str(i) for i in given["target"][0].tolist()]
    assert trace.special("cross", batch=1) == [False] * 4 + [True] * 3
    assert trace.special("cross", batch=1, side="query") == [False] * 5
    assert (trace.kinds, trace.batch_size) == (("encoder", "decoder", "cross"), 2)
    assert [trace.causal(k) for k in trace.kinds] == [False, True, False]
    assert trace.shape("cross") == (5, 7)
    assert "2 layers × 4 heads" in repr(trace)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda t: t.pattern(2, 0), ["layer=2", "0 … 1"]),
        (lambda t: t.pattern(-1, 0), ["layer=-1"]),
        (lambda t: t.pattern(0, 4), ["head=4", "0 … 3"]),
        (lambda t: t.pattern(0, 0, kind="cross"), ["kind='cross'", "decoder"]),
        (lambda t: t.pattern(0, 0, batch=-1), ["batch=-1", "0 … 0"]),
        (lambda t: t.pattern(0, 0, batch=True), ["batch must", "whole number, got True"]),
        (lambda t: t.pattern(0.5, 0), ["layer must", "whole number, got 0.5"]),
        (lambda t: t.pattern(0, "x"), ["head must", "whole number, got 'x'"]),
        (lambda t: t.pattern(0, 0, batch=1), ["batch=1", "0 … 0"]),
        (lambda t: t.predictions(9), ["position=9", "7 tokens"]),
        (lambda t: t.predictions(k=-1), ["k must", "at least 1, got -1"]),
        (lambda t: t.predictions(k=2.0), ["k must be a whole number", "got 2.0"]),
    ],
)
def test_what_a_trace_does_not_hold_is_named(ask, words):
    with pytest.raises(TraceError, match=r".+") as error:
        ask(tl.trace(build(), tokens(1, 7)))
    assert all(word in str(error.value) for word in words), error.value


NO_IDS = (
    b"text",
    object(),
    (i for i in range(3)),
    {1: 2},
    {1, 2},
    [[1, 2], [3]],
    ["a"],
    np.array([1, "x"]),
    np.array([object()]),
    torch.zeros(1, 4).long().to_sparse(),
    torch.zeros(1, 4, device="meta").long(),
)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([],), ["tokens", "at least one token"]),
        (("text",), ["tokens", "text", "TextModel"]),
        ((torch.zeros(1, 4),), ["tokens", "float32"]),
        (([[1, 2], [3, 99]],), ["99", "50 tokens", "0 … 49"]),
        (([[1, -2]],), ["-2", "50 tokens"]),
        *[((given,), ["tokens", "give token ids, whole numbers"]) for given in NO_IDS],
        ((torch.zeros(1, 4, dtype=torch.complex64),), ["tokens", "complex64", "whole numbers"]),
        ((torch.zeros(1, 4).bool(),), ["tokens", "bool", "whole numbers"]),
        ((tokens(1, 65),), ["65 tokens", "n_ctx=64"]),
        ((tokens(1, 4), tokens(1, 4)), ["no target"]),
    ],
)
def test_what_cannot_be_traced_is_named(arguments, words):
    with pytest.raises(ValueError, match=r".+") as error:
        tl.trace(build(), *arguments)
    assert all(word in str(error.value) for word in words), error.value


def test_a_mask_may_have_the_shape_of_one_text():
    ids = tokens(1, 6)
    real = torch.tensor([True] * 4 + [False] * 2)
    one, batch = (tl.trace(build(), ids, mask=mask).logits for mask in (real, real[None]))
    assert torch.equal(one, batch)


@pytest.mark.badinput
def test_models_that_cannot_be_traced_are_named():
    with pytest.raises(
        ValueError, match=r"mask must be as large as its tokens, \[1, 6\], .* \[1, 4\]"
    ):
        tl.trace(build(), tokens(1, 6), mask=torch.ones(1, 4, dtype=torch.bool))
    for model, words in ((torch.nn.Linear(2, 2), "Linear has no attention"), ("gpt2", "str")):
        with pytest.raises(ValueError, match=words):
            tl.trace(model, tokens(1, 4))
    with pytest.raises(ValueError, match=r"keep must be 'all'.* got 'everything'"):
        tl.trace(build(), tokens(1, 4), keep="everything")
    with pytest.raises(ValueError, match=r"labels must have 4 labels .* got \[2\]"):
        tl.trace(build(), tokens(1, 4), labels=["a", "b"])
    for labels in ([1, 2, 3, 4], [None] * 4, 7, [["a", "b", "c", 4]]):
        with pytest.raises(ValueError, match=r"labels must be strings, a list of them .* got"):
            tl.trace(build(), tokens(1, 4), labels=labels)
    with pytest.raises(TraceError, match="keep='all'"):
        tl.trace(build(), tokens(1, 4), keep="maps").residual()
    with pytest.raises(TraceError, match="no head"):
        tl.trace(build("encoder", head=False), tokens(1, 4)).predictions()
