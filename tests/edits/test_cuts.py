"""Edges knocked out: how the query's attention is redistributed, and what a cut costs."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.edits.scenes import EACH_ARCHITECTURE, build, inputs, kinds
from transformer_lab import ModelConfig
from transformer_lab.attention import add_bias
from transformer_lab.edits.kinds import EditError


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_knocked_out_edge_gives_its_weight_to_the_rest_of_the_row(name):
    model = build(name)
    text = inputs(model)
    before = tl.trace(model, *text)
    for kind in kinds(model):
        with tl.edit(model, tl.knock_out(0, 1, query=3, key=1, kind=kind)):
            after = tl.trace(model, *text)
        expected = before.pattern(0, kind=kind).clone()
        expected[1, 3, 1] = 0
        expected[1, 3] /= expected[1, 3].sum()
        if kind == "cross":  # its queries come after self-attention, which is unchanged
            assert_close(after.pattern(0, kind="decoder"), before.pattern(0, kind="decoder"))
        assert_close(after.pattern(0, kind=kind), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_query_cut_from_every_key_gets_nothing():
    model = build()
    with tl.edit(model, tl.knock_out(0, 1, query=3)):
        after = tl.trace(model, *inputs(model))
    assert not after.pattern(0, 1)[3].any()
    assert after.logits.isfinite().all()


class Largest(TorchDispatchMode):
    """Record the size of the largest tensor created in the context."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numel = max(self.numel, made.numel())
        return made


@pytest.mark.oomguard
@torch.no_grad()
def test_a_cut_takes_the_memory_of_the_heads_that_it_touches():
    n = 3000
    model = tl.Transformer(ModelConfig(vocab_size=9, n_layers=1, n_heads=12, d_model=24, n_ctx=n))
    model, text = model.eval(), torch.arange(n)[None] % 9
    clean = tl.trace(model, text)
    for edit, limit in (
        (tl.knock_out(0, 1, query=2000, key=3), 24 * 4 * n + 1),  # no full pattern
        (tl.knock_out(0, 1, key=3), n * n + 1),  # one head's
    ):
        with tl.edit(model, edit), Largest() as largest:
            trace = tl.trace(model, text)
        assert largest.numel < limit
        assert trace.kept_bytes() == clean.kept_bytes()
        found = trace.pattern(0, 1)[2000]
        expected = clean.pattern(0, 1)[2000].index_fill(0, torch.tensor(3), 0.0)
        assert_close(found, expected / expected.sum(), rtol=0, atol=1e-6)
        assert trace.queries_keys(0, 1) is None and trace.queries_keys(0, 2) is not None


@EACH_ARCHITECTURE
@torch.no_grad()
def test_a_cut_is_what_a_mask_of_every_edge_gives(name):
    model = build(name)
    text = inputs(model)

    class Mask(tl.Tap):
        def __init__(self, kind, edits):
            self.kind, self.edits = kind, edits

        def on_attention(self, call):
            if call.site.kind != self.kind:
                return call
            allowed = torch.ones(1, *call.shape[1:], dtype=torch.bool)
            for layer, head, query, key in self.edits:
                if layer in (None, call.site.layer):
                    allowed[:, head, query, key] = False
            return replace(call, bias=add_bias(call.bias, allowed))

    every = slice(None)
    for kind in kinds(model):
        cuts = [(0, 1, 3, 1), (0, 1, 3, 2), (1, every, every, 2), (None, 3, 4, every)]
        tap = Mask(kind, cuts)
        model.add_tap(tap)
        expected = model(*text)
        model.remove_tap(tap)
        number = lambda x: x if isinstance(x, int) else None  # noqa: E731
        edits = [
            tl.knock_out(number(a), number(h), query=number(q), key=number(k), kind=kind)
            for a, h, q, k in cuts
        ]
        with tl.edit(model, *edits):
            assert_close(model(*text), expected, rtol=0, atol=1e-5)


@pytest.mark.badinput
def test_edges_that_are_not_there_are_named():
    with pytest.raises(EditError, match="query=-1: positions of edges are counted from 0"):
        tl.knock_out(0, 0, query=-1, key=0)
    gemma = tiny("gemma2", sliding_window=3)
    with (
        pytest.raises(EditError, match="no such edge or layer, or its window or mask leaves it"),
        tl.edit(gemma, tl.knock_out(0, 0, query=9, key=0)),
    ):
        tl.trace(gemma, torch.arange(10)[None])
