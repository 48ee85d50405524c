"""On a processor with instructions for bf16: a step's time in bf16 / in fp32, and what is learned.

Time: whole steps of both recipes at three sizes, by turns, the least of each. Learning: letters of
tiny Shakespeare at d 256, the least at which bf16 is tried, three seeds, the same start and batches
in both precisions; the loss of an eighth of the validation split, computed in fp32. Bars: the mean difference of a recipe
≤ .01 nats (two seeds differ by as much), and for the sizes at which `tl.train` tries bf16 (d 256
and above) ≤ .9 of the time. Recipes that hold are named in `transformer_lab/training/precision.py`.
"""

import statistics
import time

import torch

import transformer_lab as tl
from transformer_lab.optim import recipe
from transformer_lab.training.machine import keep_freed_memory
from transformer_lab.training.objective import CrossEntropy, evaluate
from transformer_lab.training.precision import FASTER, TRIED, has_bf16_instructions

from .report import Clock, Row, at_most

# name: batch, context, heads, d_model, vocabulary; four layers
SHAPES = {
    "nanoGPT's CPU shape, d 128": (12, 64, 4, 128, 65),
    "d 256, 8 × 128 tokens": (8, 128, 4, 256, 1024),
    "d 512, 8 × 128 tokens": (8, 128, 8, 512, 4096),
}
LEARNED = "d 256, 8 × 128 tokens"  # whose vocabulary is then that of letters
STEPS = {"adamw": 120, "modern": 80}
SEEDS, TURNS = 3, 4


def config_for(name, shape):
    _, n_ctx, n_heads, d_model, vocab = shape
    sizes = dict(vocab_size=vocab, n_layers=4, n_heads=n_heads, d_model=d_model, n_ctx=n_ctx)
    if name == "modern":
        return tl.ModelConfig.modern(**sizes)
    return tl.ModelConfig(positions="learned", activation="gelu", **sizes)


def times(name, shape, seed) -> tuple[float, float]:
    """The least CPU seconds of a step in fp32 and in bf16, by turns, of one model."""
    torch.manual_seed(seed)
    model = tl.Transformer(config_for(name, shape)).train()
    text = torch.randint(shape[-1], (shape[0], shape[1] + 1))
    batch = (text[:, :-1].contiguous(), text[:, 1:].contiguous())
    optimizers, loss = recipe(name).build(model, 100), CrossEntropy()
    keep_freed_memory()  # as `tl.train` does
    least = [float("inf"), float("inf")]
    for turn in range(TURNS + 1):
        for half in (False, True):
            began = time.process_time()
            for parameter in model.parameters():
                parameter.grad = None
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                found = loss(model, batch)
            found.backward()
            for optimizer in optimizers:
                optimizer.step()
            if turn:  # the first warms up
                least[half] = min(least[half], time.process_time() - began)
    return least[0], least[1]


def learned(name, precision, corpus, seed) -> float:
    """The loss of the validation split after training."""
    torch.manual_seed(seed)
    shape = SHAPES[LEARNED]
    batch_size, n_ctx = shape[:2]
    model = tl.Transformer(config_for(name, (*shape[:-1], corpus.vocab_size)))
    stream = corpus.batches(batch_size, n_ctx, seed=seed)
    for _ in tl.train(model, stream, steps=STEPS[name], optimizer=name, precision=precision):
        pass
    return evaluate(model, corpus.epoch(64, n_ctx)[::8])


def run(options):
    if not has_bf16_instructions():
        yield Row("bf16", "no such instructions here", "", None, None, 0, options.seed)
        return
    yield from steps(options)
    yield from learning(options)


def steps(options):
    for size, shape in SHAPES.items():
        for name in STEPS:
            with Clock() as clock:
                exact, half = times(name, shape, options.seed)
            bar = None if shape[3] < TRIED else f"≤ {FASTER}"
            yield Row(
                f"a step in bf16 / in fp32, {name}, {size}", round(half / exact, 4), "×", bar,
                None if bar is None else half <= FASTER * exact, round(clock.cpu, 1), options.seed,
                f"{1e3 * half:.0f} and {1e3 * exact:.0f} ms",
            )  # fmt: skip


def learning(options):
    corpus = tl.datasets.tiny_shakespeare(path=options.shakespeare)
    for name in STEPS:
        pairs = []
        with Clock() as clock:
            for seed in range(options.seed, options.seed + SEEDS):
                pairs.append([learned(name, p, corpus, seed) for p in ("fp32", "bf16")])
        note = "; ".join(f"{exact:.4f} and {half:.4f}" for exact, half in pairs)
        yield at_most(
            f"loss in bf16 − in fp32, mean of {SEEDS} seeds, {name}, {LEARNED}, {STEPS[name]} steps",
            statistics.mean(half - exact for exact, half in pairs), 0.01, unit="nats",
            seconds=clock.cpu, seed=options.seed, note=f"fp32 and bf16: {note}",
        )  # fmt: skip
