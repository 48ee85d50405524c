"""Composition scores against dense matrices, chance, and hand-written circuits."""

import pytest
import torch

import transformer_lab as tl
from transformer_lab.analysis import circuits


def dense(model, layer, head, norms=()):
    """W_Q W_Kᵀ and W_V W_O as d_model × d_model matrices, with `norms` folded into W_O."""
    a, d = model.decoder.blocks[layer].attention, 8
    at, shared = slice(head * d, head * d + d), head // (a.n_heads // a.n_kv_heads)
    kv = slice(shared * d, shared * d + d)
    q, k, v = a.query.weight[at].T, a.key.weight[kv].T, a.value.weight[kv].T
    out = a.out.weight[:, at].T
    for norm in norms:
        out = (out - out.mean(-1, keepdim=True)) * norm.weight
    return (q @ k.T).detach(), (v @ out).detach()


@pytest.mark.parametrize("fields", [{}, dict(n_kv_heads=2), dict(norm_first=False)])
def test_composition_is_the_norm_of_the_dense_product(ours, fields):
    model = ours(positions="none", **fields)
    blocks = model.decoder.blocks
    norms = [blocks[2].norm1]
    if not model.config.norm_first:
        norms = [n for b in blocks[:2] for n in (b.norm1, b.norm3)]
    _, writes = dense(model, 0, 3, norms)
    qk, ov = dense(model, 2, 1)
    for kind, reads in (("Q", qk), ("K", qk.T), ("V", ov)):
        expected = (writes @ reads).norm() / (writes.norm() * reads.norm())
        one = circuits.composition(model, (0, 3), (2, 1), kind)
        assert one.score == pytest.approx(expected.item(), rel=1e-4)
        table = circuits.compositions(model, kind).values
        assert table[2, 1, 0, 3].item() == pytest.approx(one.score, rel=1e-5)
        assert table[1, :, 1:].isnan().all() and not table[2, :, :2].isnan().any()


def test_rotary_positions_turn_queries_against_keys(ours):
    model = ours()
    near, far = (circuits.composition(model, (0, 0), (1, 0), "K", distance=d) for d in (0, 9))
    assert near.score != pytest.approx(far.score, rel=1e-3)
    same = [circuits.composition(model, (0, 0), (1, 0), "V", distance=d).score for d in (0, 9)]
    assert same[0] == same[1]


def test_untrained_heads_compose_as_random_ones_do():
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=20, n_layers=2, n_heads=4, d_model=64, positions="none")
    model = tl.Transformer(config)
    for kind in "QKV":
        found = circuits.compositions(model, kind)
        values = found.values[1, :, 0]
        assert found.random_mean == pytest.approx(64**-0.5, rel=0.02)
        assert ((values - found.random_mean).abs() < 5 * found.random_std).all()


def test_of_circuits_written_by_hand_each_composition_is_where_it_was_put():
    read = lambda through, kind: circuits.compositions(  # noqa: E731
        circuits.induction_by_hand(through=through), kind
    ).values[1, :, 0]
    for through, kind, reader in (("keys", "K", 0), ("values", "K", 1), ("values", "V", 0)):
        values = read(through, kind)
        assert (values[:, reader] > 0.03).all(), (through, kind)
        assert values[:, 1 - reader].abs().max() < 1e-6, (through, kind)
    for through, kind in (("keys", "Q"), ("keys", "V"), ("values", "Q")):
        assert read(through, kind).abs().max() < 1e-6, (through, kind)


def test_the_shipped_models_induction_head_reads_its_previous_token_head():
    found = circuits.compositions(tl.shipped("manual"), "K")
    assert found.top(1)[0][:2] == ((1, 2), (2, 2))
    one = circuits.composition(tl.shipped("manual"), (1, 2), (2, 2), "K")
    assert one.sigmas > 20
    ov = circuits.ov_circuit(tl.shipped("manual"), 2, 2)
    assert ov.copying_score > ov.copying_random[0] + 5 * ov.copying_random[1]


@pytest.mark.badinput
def test_bad_input(ours):
    model = ours()
    with pytest.raises(ValueError, match=r"earlier must be in a lower layer .* got \(1, 0\)"):
        circuits.composition(model, (1, 0), (1, 1))
    with pytest.raises(ValueError, match="kind must be 'Q', 'K' or 'V', got 'X'"):
        circuits.composition(model, (0, 0), (1, 1), "X")
