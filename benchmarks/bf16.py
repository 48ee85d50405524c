"""bf16 on a processor with bf16 instructions: the time of a step relative to fp32, and the loss reached.

Time: whole steps of both recipes at three sizes, taking turns, the fastest of each. Loss: letters of
tiny Shakespeare, three seeds, the same start and batches in both precisions; measured on an eighth of
the validation split, in fp32. All of the model in bf16 is tried at d 256, the smallest size at which
`tl.train` tries it; Muon alone in bf16, with the rest in fp32, at d 128, the smallest size at which
`tl.train` does that. Bars: the mean difference in loss of a recipe ≤ 0.01 nats (two seeds differ by as
much); where `tl.train` chooses bf16, ≤ 0.9 of the time (≤ 0.95 for Muon alone, which needs no trial).
Recipes that pass are listed in `transformer_lab/training/precision.py`.
"""

import statistics
import time
from dataclasses import replace

import torch

import transformer_lab as tl
from transformer_lab.optim import BF16_FROM, Modern, Muon, has_bf16_instructions, recipe
from transformer_lab.training.hardware import keep_freed_memory
from transformer_lab.training.objective import CrossEntropy, evaluate
from transformer_lab.training.precision import FASTER, TRIED

from .report import Clock, Row, at_most

# name: batch, context, heads, d_model, vocabulary; four layers
SHAPES = {
    "nanoGPT's CPU shape, d 128": (12, 64, 4, 128, 65),
    "d 256, 8 × 128 tokens": (8, 128, 4, 256, 1024),
    "d 512, 8 × 128 tokens": (8, 128, 8, 512, 4096),
}
D_128, D_256 = list(SHAPES)[:2]
STEPS = {"adamw": 120, "modern": 80}
SEEDS, TURNS = 3, 4
# What is in bf16: (the model, Muon)
NOTHING, ALL, MUON = (False, False), (True, True), (False, True)


def config_for(name, shape):
    _, n_ctx, n_heads, d_model, vocab = shape
    sizes = dict(vocab_size=vocab, n_layers=4, n_heads=n_heads, d_model=d_model, n_ctx=n_ctx)
    if name == "modern":
        return tl.ModelConfig.modern(**sizes)
    return tl.ModelConfig(positions="learned", activation="gelu", **sizes)


def times(name, shape, half, seed) -> tuple[float, float]:
    """The least CPU seconds of a step without bf16 and with `half`, alternating on one model."""
    torch.manual_seed(seed)
    model = tl.Transformer(config_for(name, shape)).train()
    text = torch.randint(shape[-1], (shape[0], shape[1] + 1))
    batch = (text[:, :-1].contiguous(), text[:, 1:].contiguous())
    optimizers, loss = recipe(name).build(model, 100), CrossEntropy()
    keep_freed_memory()  # as `tl.train` does
    least = [float("inf"), float("inf")]
    for turn in range(TURNS + 1):
        for i, (model_half, muon_half) in enumerate((NOTHING, half)):
            for optimizer in optimizers:
                if isinstance(optimizer, Muon):
                    optimizer.precision = "bf16" if muon_half else "fp32"
            began = time.process_time()
            for parameter in model.parameters():
                parameter.grad = None
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=model_half):
                found = loss(model, batch)
            found.backward()
            for optimizer in optimizers:
                optimizer.step()
            if turn:  # the first warms up
                least[i] = min(least[i], time.process_time() - began)
    return least[0], least[1]


def learned(name, size, half, corpus, seed) -> float:
    """The loss on the validation split after training."""
    torch.manual_seed(seed)
    shape = SHAPES[size]
    batch_size, n_ctx = shape[:2]
    model = tl.Transformer(config_for(name, (*shape[:-1], corpus.vocab_size)))
    stream = corpus.batches(batch_size, n_ctx, seed=seed)
    chosen, precision = recipe(name), "bf16" if half[0] else "fp32"
    if isinstance(chosen, Modern):
        chosen = Modern(muon_precision="bf16" if half[1] else "fp32")
    for _ in tl.train(model, stream, steps=STEPS[name], optimizer=chosen, precision=precision):
        pass
    return evaluate(model, corpus.epoch(64, n_ctx)[::8])


def run(options):
    if not has_bf16_instructions():
        yield Row(
            "bf16", "this processor has no bf16 instructions", "", None, None, 0, options.seed
        )
        return
    for size in SHAPES:
        yield steps("time of a step", "adamw", size, ALL, options)
        yield steps("time of a step", "modern", size, ALL, options)
        yield steps("time of a step with Muon alone", "modern", size, MUON, options)
    corpus = tl.datasets.tiny_shakespeare(path=options.shakespeare)
    yield learning("loss", "adamw", D_256, ALL, corpus, options)
    yield learning("loss", "modern", D_256, ALL, corpus, options)
    yield learning("loss with Muon alone", "modern", D_128, MUON, corpus, options)


def steps(what, name, size, half, options) -> Row:
    with Clock() as clock:
        exact, faster = times(name, SHAPES[size], half, options.seed)
    least, bar = (BF16_FROM, 0.95) if half is MUON else (TRIED, FASTER)
    row = at_most(
        f"{what} in bf16 / in fp32, {name}, {size}",
        faster / exact,
        bar,
        unit="×",
        seconds=clock.cpu,
        seed=options.seed,
        note=f"{1e3 * faster:.0f} and {1e3 * exact:.0f} ms",
    )
    return row if SHAPES[size][3] >= least else replace(row, bar=None, holds=None)


def learning(what, name, size, half, corpus, options) -> Row:
    pairs = []
    with Clock() as clock:
        for seed in range(options.seed, options.seed + SEEDS):
            pairs.append([learned(name, size, h, corpus, seed) for h in (NOTHING, half)])
    note = "; ".join(f"{exact:.4f} and {found:.4f}" for exact, found in pairs)
    return at_most(
        f"{what} in bf16 − in fp32, mean of {SEEDS} seeds, {name}, {size}, {STEPS[name]} steps",
        statistics.mean(found - exact for exact, found in pairs),
        0.01,
        unit="nats",
        seconds=clock.cpu,
        seed=options.seed,
        note=f"fp32 and bf16: {note}",
    )
