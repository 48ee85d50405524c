"""Tiny Shakespeare in nanoGPT's CPU shape: its recipe against the modern one, side by side.

4 layers, 4 heads, d 128, 64 characters, batches of 12. Loss over the *whole* validation split.
nanoGPT's recipe is implemented again here: GELU, learned positions, a tied head, no dropout, no
biases, 2000 iterations of AdamW at 1e-3 with its warm-up and cosine. Its own code, run unchanged,
reached 1.8921. Bars for the modern recipe: ≤ 1.8921 in at most 1/4 of the CPU time and 1/3 of the
wall time of the other, both run here.

    python -m benchmarks char_lm --shakespeare PATH      (else it is fetched)
"""

import math

import torch
from torch import nn

import transformer_lab as tl

from .report import BLUE, ORANGE, Clock, Row, at_most, plot

BATCH, N_CTX = 12, 64
NANOGPT_ITERATIONS, MODERN_STEPS = 2000, 260
NANOGPT_LOSS = 1.8921  # nanoGPT's own code, unchanged, over the whole validation split


def nanogpt(corpus, seed):
    """nanoGPT's model and loop (config/train_shakespeare_char.py with its CPU options): AdamW,
    betas (.9, .99), weight decay .1 on matrices, clip 1, 100 warm-up iterations to 1e-3, then a
    cosine to 1e-4. Yields (iteration, training loss). Source: Karpathy, nanoGPT."""
    torch.manual_seed(seed)
    config = tl.ModelConfig(
        vocab_size=corpus.vocab_size, n_layers=4, n_heads=4, d_model=128, n_ctx=N_CTX,
        positions="learned", activation="gelu", bias=False, tie_head=True, dropout=0.0,
    )  # fmt: skip
    model = tl.Transformer(config)
    _as_gpt2_starts(model)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [dict(params=decayed, weight_decay=0.1), dict(params=plain, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    stream = corpus.batches(BATCH, N_CTX, seed=seed)
    model.train()
    for i in range(NANOGPT_ITERATIONS):
        for group in optimizer.param_groups:
            group["lr"] = _nanogpt_lr(i)
        batch = stream.batch(i)
        logits = model(batch.tokens)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield i + 1, model


def _nanogpt_lr(i, *, high=1e-3, low=1e-4, warmup=100, end=NANOGPT_ITERATIONS):
    if i < warmup:
        return high * (i + 1) / (warmup + 1)
    part = (i - warmup) / (end - warmup)
    return low + 0.5 * (1 + math.cos(math.pi * part)) * (high - low)


def _as_gpt2_starts(model):
    """Normal, std .02 everywhere; output projections / √(2 · layers)."""
    for name, p in model.named_parameters():
        if p.dim() >= 2:
            last = name.endswith(("out.weight", "down.weight"))
            nn.init.normal_(p, std=0.02 / math.sqrt(2 * 4) if last else 0.02)


def modern(corpus, seed):
    """Ours: ModelConfig.modern and Muon. Yields (step, model)."""
    torch.manual_seed(seed)
    config = tl.ModelConfig.modern(
        vocab_size=corpus.vocab_size, n_layers=4, n_heads=4, d_model=128, n_ctx=N_CTX
    )
    model = tl.Transformer(config)
    stream = corpus.batches(BATCH, N_CTX, seed=seed)
    for step in tl.train(model, stream, steps=MODERN_STEPS, optimizer="modern"):
        yield step.index, model


def loss_of(model, held_out) -> float:
    """Mean over every character of the validation split but its first."""
    from transformer_lab.training.objective import evaluate

    return evaluate(model, held_out)


def learn(recipe, corpus, held_out, seed, every):
    """Train to the end: (curve of (CPU seconds, validation loss), CPU s, wall s). Evaluation on
    the way is on an eighth of the split, and its time is not counted."""
    curve, cpu, wall, model = [], 0.0, 0.0, None
    steps = recipe(corpus, seed)
    while True:
        with Clock() as clock:
            found = next(steps, None)
        cpu, wall = cpu + clock.cpu, wall + clock.wall
        if found is None:
            break
        i, model = found
        if i % every == 0:
            curve.append((cpu, loss_of(model, held_out[::8])))
    return curve, loss_of(model, held_out), cpu, wall


def run(options):
    corpus = tl.datasets.tiny_shakespeare(path=options.shakespeare)
    held_out = corpus.epoch(64, N_CTX)
    seed = options.seed
    ours, our_loss, our_cpu, our_wall = learn(modern, corpus, held_out, seed, 25)
    theirs, their_loss, their_cpu, their_wall = learn(nanogpt, corpus, held_out, seed, 100)
    told = dict(seconds=our_cpu, seed=seed)
    yield at_most(
        "char LM, modern recipe, whole-validation loss", our_loss, NANOGPT_LOSS, unit="nats", **told
    )
    yield Row(
        "char LM, nanoGPT's recipe implemented again, loss", round(their_loss, 4), "nats", None,
        None, round(their_cpu, 1), seed,
    )  # fmt: skip
    yield at_most(
        "char LM, CPU time modern / nanoGPT's recipe", our_cpu / their_cpu, 0.25, unit="×",
        note=f"{our_cpu:.1f} against {their_cpu:.1f} s", **told,
    )  # fmt: skip
    yield at_most(
        "char LM, wall time modern / nanoGPT's recipe", our_wall / their_wall, round(1 / 3, 4), unit="×",
        note=f"{our_wall:.1f} against {their_wall:.1f} s", **told,
    )  # fmt: skip
    title = "Tiny Shakespeare, 0.8 M parameters: loss against CPU time"
    with plot(
        options.out / "char_lm.png", title=title, x="CPU seconds", y="validation loss"
    ) as axes:
        curves = ((theirs, ORANGE, "nanoGPT's recipe, AdamW"), (ours, BLUE, "modern recipe, Muon"))
        for curve, colour, name in curves:
            axes.plot(*zip(*curve, strict=True), color=colour, label=name, linewidth=2)
        axes.axhline(NANOGPT_LOSS, color="#8a857a", linewidth=1, linestyle="--")
        axes.set_ylim(1.7, 2.8)
