"""Schedules, Muon and the recipes, against their formulas and PyTorch's own."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import transformer_lab as tl
from transformer_lab.optim import (
    QUINTICS,
    AdamW,
    Modern,
    Muon,
    Schedule,
    gains_by_bf16,
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


def best_quintic(low, high):
    """(a, b, c) that minimise the largest |a·s + b·s³ + c·s⁵ - 1| on [low, high] (Remez)."""
    inner = [(3 * low + high) / 4, (low + 3 * high) / 4]
    for _ in range(100):
        points = np.array([low, *inner, high])
        powers = np.stack([points, points**3, points**5, np.array([1, -1, 1, -1])], 1)
        a, b, c, _ = np.linalg.solve(powers, np.ones(4))
        root = math.sqrt(9 * b * b - 20 * a * c)
        inner = [math.sqrt((-3 * b + sign * root) / (10 * c)) for sign in (-1, 1)]
    return a, b, c


def test_every_quintic_is_the_best_for_what_the_one_before_leaves():
    low, high = 0.003, 1.0
    for given in QUINTICS:
        a, b, c = best_quintic(low, high)
        assert given == pytest.approx((a, b, c), abs=1e-4)
        low = a * low + b * low**3 + c * low**5
        high = 2 - low
    assert low > 0.8


SHAPES = [(16, 16), (8, 24), (24, 8), (1, 9), (9, 1), (3, 5), (64, 300), (257, 256)]


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])
@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonalize_keeps_the_singular_vectors(shape, scale):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * scale
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    inside = u.T @ orthogonalize(matrix, "fp32").double() @ vh.T
    values = inside.diagonal()
    assert (inside - values.diag()).abs().max() < 1e-4
    above = s > 0.003 * s.square().norm().sqrt()
    assert above.sum() > 0.9 * len(s)
    assert values[above].min() > 0.79
    assert values.max() < 1.21


def spectra(shape):
    """Matrices whose singular values are as in training, and worse."""
    torch.manual_seed(0)
    rows, rank = shape[0], min(shape)
    u, _, vh = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    return {
        "random": torch.randn(shape),
        "rows from 1 to .001": torch.randn(shape) * torch.logspace(0, -3, rows)[:, None],
        "four directions and noise": torch.randn(rows, 4) @ torch.randn(4, shape[1])
        + 0.1 * torch.randn(shape),
        "all alike": u @ vh,
        "0 to 1": u @ torch.linspace(0, 1, rank).diag() @ vh,
        "two alike, no other": u[:, :2] @ vh[:2],
        "one": torch.randn(rows, 1) @ torch.randn(1, shape[1]),
        "one number": torch.full(shape, 7e-6),
    }


@pytest.mark.parametrize("name", spectra((2, 2)))
@pytest.mark.parametrize("shape", [(128, 128), (128, 512), (512, 128), (130, 257)])
def test_orthogonalize_in_bf16_does_not_run_away(shape, name):
    """Without the quintics' margin, singular values of random matrices reach 30 instead of 1.2."""
    matrix = spectra(shape)[name]
    s = torch.linalg.svdvals(matrix.double())
    found = orthogonalize(matrix, "bf16")
    assert found.dtype == torch.float32
    assert not torch.equal(found, orthogonalize(matrix, "fp32"))
    values = torch.linalg.svdvals(found.double())
    above = s > 0.02 * s.square().norm().sqrt()
    assert values.max() < 1.25
    assert values[: above.sum()].min() > 0.7
    u, _, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    if name == "0 to 1":  # far enough apart to compare the directions
        inside = u.T @ found.double() @ vh.T
        assert (inside - inside.diag().diag()).abs().max() < 0.05


CAPABLE = {"amx_bf16": True}, {"avx512_bf16": True}
INCAPABLE = {"avx2": True, "avx512_bf16": False}, {"bf16": True}, {}


@pytest.mark.parametrize("told", [*CAPABLE, *INCAPABLE])
def test_a_processor_orthogonalizes_in_bf16_what_it_has_instructions_for(told, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    torch.manual_seed(0)
    large, narrow = torch.randn(2, 128, 130), torch.randn(127, 300)
    assert gains_by_bf16(large) == (told in CAPABLE)
    wanted = orthogonalize(large, "bf16" if told in CAPABLE else "fp32")
    assert torch.equal(orthogonalize(large), wanted)
    for small in (narrow, narrow.T, large.double()):
        assert not gains_by_bf16(small)
        for precision in ("auto", "bf16"):
            assert torch.equal(orthogonalize(small, precision), orthogonalize(small, "fp32"))


def test_where_pytorch_does_not_tell_what_the_processor_has_it_is_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not gains_by_bf16(torch.randn(128, 128))


@pytest.mark.badinput
def test_an_unknown_precision_of_muon_is_refused():
    known = " must be one of auto, fp32, bf16, got 'fp8'"
    with pytest.raises(ValueError, match=f"^precision{known}"):
        orthogonalize(torch.eye(2), "fp8")
    with pytest.raises(ValueError, match=f"^precision{known}"):
        Muon([nn.Parameter(torch.eye(2))], precision="fp8")
    with pytest.raises(ValueError, match=f"^muon_precision{known}"):
        Modern(muon_precision="fp8")


@pytest.mark.parametrize("shape", [(32, 96), (64, 64)])
def test_what_is_nearly_singular_stays_finite_and_small_directions_stay_small(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * torch.logspace(0, -8, shape[0])[:, None]
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.isfinite().all()
    assert values.max() < 1.21
    assert values.min() < 0.1
    assert orthogonalize(torch.zeros(shape)).abs().max() == 0


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon needs torch 2.9")
@pytest.mark.parametrize("shape", [(64, 64), (64, 192)])
def test_four_steps_are_nearer_to_orthogonal_than_pytorchs_five(shape):
    from torch.optim._muon import _zeropower_via_newtonschulz  # their name for it

    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    theirs = _zeropower_via_newtonschulz(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7).float()
    ours = orthogonalize(matrix)
    assert (ours - u @ vh).norm() < 0.8 * (theirs - u @ vh).norm()


def test_orthogonalize_takes_many_matrices_at_once():
    torch.manual_seed(0)
    matrices = torch.randn(2, 3, 8, 12)
    one_by_one = torch.stack([torch.stack([orthogonalize(m) for m in row]) for row in matrices])
    torch.testing.assert_close(orthogonalize(matrices), one_by_one)
    torch.testing.assert_close(orthogonalize(matrices.mT), one_by_one.mT)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon needs torch 2.9")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_muon_agrees_with_pytorch_but_for_how_it_orthogonalizes(weight_decay, monkeypatch):
    from torch.optim import _muon

    monkeypatch.setattr(
        _muon, "_zeropower_via_newtonschulz", lambda grad, *constants: orthogonalize(grad)
    )
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
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)


def test_muon_warms_its_momentum_up():
    p = nn.Parameter(torch.eye(4))
    muon = Muon([p], lr=0.0, momentum=(0.5, 1.0), momentum_warmup=2)
    for _ in range(3):
        p.grad = torch.eye(4)
        muon.step()
    # 0.5·1, then 0.75·0.5 + 0.25·1, then unchanged at momentum 1
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
    assert kinds["embedding.weight"] == "head"  # tied weights: the head's lower rate
    assert "head.weight" not in kinds
    assert kinds["decoder.blocks.0.norm1.weight"] == "other"


@pytest.mark.parametrize("name", ["adamw", "modern"])
def test_every_parameter_is_optimized_once(name):
    for config in (
        tl.ModelConfig.modern(vocab_size=11, n_layers=1, n_heads=2, d_model=8),
        tl.ModelConfig(
            vocab_size=11,
            n_layers=1,
            n_heads=2,
            d_model=8,
            kind="encoder-decoder",
            positions="learned",
        ),
    ):
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
    with pytest.raises(ValueError, match=r"optimizer must be one of adamw, modern.*got 'sgd'"):
        recipe("sgd")
    with pytest.raises(
        ValueError, match=r"schedule must be one of cosine, linear, noam, constant.*got 'step'"
    ):
        Schedule("step", 10)
    with pytest.raises(ValueError, match="counts from 1"):
        noam(0, 512)
    with pytest.raises(ValueError, match="needs d_model"):
        Schedule("noam", 10, warmup=4)
    assert math.isfinite(Schedule("cosine", 1, warmup=1)(0))


def test_training_does_not_import_the_compiler_and_adamw_is_pytorchs():
    code = """
import sys, torch
import transformer_lab as tl
from transformer_lab.optim import AdamW, Modern

torch.manual_seed(0)
for recipe in (Modern(), AdamW(lr=0.01, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)):
    model = tl.Transformer(tl.ModelConfig(vocab_size=5, d_model=8, n_heads=2, n_layers=1, n_ctx=4))
    gradients = [[torch.randn_like(p) for p in model.parameters()] for _ in range(4)]
    start = [p.detach().clone() for p in model.parameters()]
    optimizers = recipe.build(model, 4)
    for step in gradients:
        for parameter, gradient in zip(model.parameters(), step, strict=True):
            parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
assert "torch._dynamo" not in sys.modules, "imported"
theirs = [p.requires_grad_() for p in start]
groups = [dict(params=[p for p in theirs if p.dim() >= 2], weight_decay=0.1),
          dict(params=[p for p in theirs if p.dim() < 2], weight_decay=0.0)]
other = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-6, fused=True)
for step in gradients:
    for parameter, gradient in zip(theirs, step, strict=True):
        parameter.grad = gradient
    other.step()
assert all(torch.equal(p, q) for p, q in zip(model.parameters(), theirs, strict=True))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
