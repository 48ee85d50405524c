"""Patching in Hugging Face models of many families, against hand-written hooks and the identity."""

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.reference.test_interventions import BOTH, CAUSAL, MASKED, kinds, run, texts
from transformer_lab.edits.kinds import EditError
from transformer_lab.edits.sites import OF_HEADS

STREAM = ("resid_pre", "resid_post", "attn_out", "mlp_out")


@pytest.mark.parametrize("name", [*MASKED, *CAUSAL, *BOTH, "bloom", "deberta"])
@torch.no_grad()
def test_a_run_patched_into_itself_at_any_site_changes_nothing(name, tiny):
    model = tiny(name)
    given = texts(model)
    before = run(model, given)
    own, other = (tl.trace(model, *texts(model, seed)[:2], keep="all") for seed in (0, 7))
    for kind in kinds(model):
        for what in (*OF_HEADS, *STREAM):
            if kind == "cross" and what in ("resid_pre", "resid_post", "mlp_out"):
                continue
            if name in ("bloom", "deberta") and what in ("q", "k"):
                with pytest.raises(EditError, match="scores in its own code"):
                    tl.patch(own, 1, kind=kind, what=what)
                continue
            with tl.edit(model, tl.patch(own, 1, kind=kind, what=what)):
                assert_close(run(model, given), before, rtol=0, atol=2e-5, msg=f"{kind} {what}")
            with tl.edit(model, tl.patch(other, 1, kind=kind, what=what)):
                assert (run(model, given) - before).abs().max() > 1e-4, (kind, what)


@torch.no_grad()
def test_what_gpt2_adds_is_what_hooks_put_there(tiny):
    model = tiny("gpt2")
    given, other = texts(model), texts(model, 7)
    source = tl.trace(model, other[0], keep="all")
    block = model.transformer.h[1]
    for what, module in (("mlp_out", block.mlp), ("attn_out", block.attn.c_proj)):
        seen = []
        handle = module.register_forward_hook(lambda m, a, out, seen=seen: seen.append(out))
        run(model, other)
        handle.remove()
        assert_close(source.activation(what, 1), seen[0])
        handle = module.register_forward_hook(lambda m, a, out, seen=seen: seen[0])
        expected = run(model, given)
        handle.remove()
        with tl.edit(model, tl.patch(source, 1, what=what)):
            assert_close(run(model, given), expected, rtol=0, atol=1e-6)
    with pytest.raises(EditError, match="resid_mid"):
        tl.patch(source, 1, what="resid_mid")


@torch.no_grad()
def test_what_a_trace_keeps_unasked_costs_no_more_hooks(tiny):
    model = tiny("llama")
    found = tl.trace(model, texts(model)[0])
    with pytest.raises(EditError, match="mlp_out"):
        tl.patch(found, 1, what="mlp_out")
    assert set(found.residual()) == set(tl.trace(model, texts(model)[0], keep="all").residual())
