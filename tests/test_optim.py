"""Schedules, Muon and the recipes, against their formulas and PyTorch's own."""

import math

import pytest
import torch
from torch import nn

import transformer_lab as tl
from transformer_lab.optim import (
    AdamW,
    Modern,
    Muon,
    Schedule,
    noam,
    orthogonalize,
    parameter_kinds,
    recipe,
)


def test_noam_peaks_where_the_paper_says():
    rates = [noam(step, d_model=512) for step in range(1, 100_001)]
    assert max(rates) == rates[3999]
    assert rates[3999] == pytest.approx(6.988e-4, abs=5e-8)
    assert rates[99_999] == pytest.approx(512**-0.5 * 100_000**-0.5, rel=1e-12)
    schedule = Schedule("noam", steps=100_000, warmup=4000, d_model=512)
    assert [schedule(i) for i in (0, 3999, 99_999)] == [rates[i] for i in (0, 3999, 99_999)]


def test_cosine_agrees_with_pytorch():
    schedule = Schedule("cosine", steps=110, warmup=10, floor=0.1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.1)
    for update in range(10, 110):
        assert schedule(update) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()
    assert [schedule(i) for i in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])


def test_linear_cools_down_over_the_last_half():
    schedule = Schedule("linear", steps=100, warmup=10)
    assert [schedule(i) for i in (0, 9, 10, 50, 75, 99, 100)] == pytest.approx(
        [0.1, 1, 1, 1, 0.5, 0.02, 0]
    )


def test_constant_stays():
    schedule = Schedule("constant", steps=5, warmup=2)
    assert [schedule(i) for i in range(5)] == [0.5, 1, 1, 1, 1]


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_orthogonalize_keeps_the_singular_vectors(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    inside = u.T @ orthogonalize(matrix).double() @ vh.T
    values = inside.diagonal()
    assert (inside - values.diag()).abs().max() < 1e-4
    # The quintic brings every singular value that is not tiny to about 1 (Jordan et al. 2024).
    assert values[s > s.max() / 50].min() > 0.6
    assert values.max() < 1.25


def test_orthogonalize_takes_many_matrices_at_once():
    torch.manual_seed(0)
    matrices = torch.randn(2, 3, 8, 12)
    one_by_one = torch.stack([torch.stack([orthogonalize(m) for m in row]) for row in matrices])
    torch.testing.assert_close(orthogonalize(matrices), one_by_one)
    torch.testing.assert_close(orthogonalize(matrices.mT), one_by_one.mT)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon needs torch 2.9")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_muon_agrees_with_pytorch(weight_decay):
    torch.manual_seed(0)
    shapes = [(16, 16), (32, 16), (16, 32), (16, 16)]
    start = [torch.randn(s) for s in shapes]
    ours = [nn.Parameter(x.clone()) for x in start]
    theirs = [nn.Parameter(x.clone()) for x in start]
    a = Muon(ours, lr=0.05, momentum=(0.95, 0.95), weight_decay=weight_decay)
    b = torch.optim.Muon(
        theirs, lr=0.05, momentum=0.95, weight_decay=weight_decay, adjust_lr_fn="original"
    )
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    for p, q, x in zip(ours, theirs, start, strict=True):
        # Theirs orthogonalizes in bf16, which is good to about 1 %.
        assert ((p - q).norm() / (q - x).norm()).item() < 0.02


def test_muon_warms_its_momentum_up():
    p = nn.Parameter(torch.eye(4))
    muon = Muon([p], lr=0.0, momentum=(0.5, 1.0), momentum_warmup=2)
    for _ in range(3):
        p.grad = torch.eye(4)
        muon.step()
    # .5·1, then .75·.5 + .25·1, then unchanged at momentum 1
    torch.testing.assert_close(muon.state[p]["momentum"], torch.eye(4) * 0.625)


@pytest.mark.badinput
def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match=r"shape \[3\].*AdamW"):
        Muon([nn.Parameter(torch.zeros(3))])


def test_parameter_kinds_of_our_model():
    config = tl.ModelConfig.modern(vocab_size=11, n_layers=1, n_heads=2, d_model=8, n_ctx=8)
    model = tl.Transformer(config)
    kinds = parameter_kinds(model)
    assert kinds["embedding.weight"] == "embedding"
    assert kinds["head.weight"] == "head"
    assert {k for n, k in kinds.items() if "blocks" in n} == {"matrix"}
    tied = tl.Transformer(tl.ModelConfig(vocab_size=11, n_layers=1, n_heads=2, d_model=8))
    kinds = parameter_kinds(tied)
    assert kinds["embedding.weight"] == "head"  # one table for both: the head's lower rate
    assert "head.weight" not in kinds
    assert kinds["decoder.blocks.0.norm1.weight"] == "other"


@pytest.mark.parametrize("name", ["adamw", "modern"])
def test_every_parameter_is_optimized_once(name):
    for config in (
        tl.ModelConfig.modern(vocab_size=11, n_layers=1, n_heads=2, d_model=8),
        tl.ModelConfig(vocab_size=11, n_layers=1, n_heads=2, d_model=8, kind="encoder-decoder",
                       positions="learned"),
    ):  # fmt: skip
        model = tl.Transformer(config)
        built = recipe(name).build(model, 10)
        taken = [id(p) for o in built for g in o.param_groups for p in g["params"]]
        assert sorted(taken) == sorted(id(p) for p in model.parameters())


def test_weight_decay_is_for_matrices():
    model = nn.Linear(3, 3)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    (optimizer,) = AdamW(lr=0.1, weight_decay=0.5).build(model, 10)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(model.weight.data, torch.full((3, 3), 0.95))
    torch.testing.assert_close(model.bias.data, torch.ones(3))


def test_modern_has_the_rates_of_its_source():
    model = tl.Transformer(tl.ModelConfig.modern(vocab_size=11, n_layers=1, n_heads=2, d_model=8))
    muon, adam = Modern().build(model, 10)
    assert isinstance(muon, Muon)
    assert sorted(g["lr"] for g in adam.param_groups) == [0.005, 0.1]
    assert {(g["betas"], g["eps"]) for g in adam.param_groups} == {((0.8, 0.95), 1e-10)}


@pytest.mark.badinput
def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"optimizer='sgd'.*adamw, modern"):
        recipe("sgd")
    with pytest.raises(ValueError, match=r"schedule='step'.*cosine, linear, noam, constant"):
        Schedule("step", 10)
    with pytest.raises(ValueError, match="counts from 1"):
        noam(0, 512)
    with pytest.raises(ValueError, match="needs d_model"):
        Schedule("noam", 10, warmup=4)
    assert math.isfinite(Schedule("cosine", 1, warmup=1)(0))
