"""On a GPU: fp32, bf16, and bf16 with torch.compile, in tokens a second and as a fraction of the peak.

Without a GPU there is one row that says so. The fraction counts 6 · parameters + 12 · layers ·
d_model · context floating-point operations per token, relative to the card's dense bf16 rate (for fp32,
its TF32 rate) from its data sheet; cards that are not in the list get no fraction.
Source: the count, Chowdhery et al. 2022, appendix B.
"""

import time

import torch

import transformer_lab as tl

from .report import Clock, Row

# Dense teraflops of bf16 and of TF32, from the data sheets.
PEAKS = {
    "H100": (989, 495),
    "H200": (989, 495),
    "A100": (312, 156),
    "L4": (121, 60),
    "4090": (165, 83),
}
BATCH, N_CTX, STEPS, WARM_UP = 32, 1024, 30, 10


def run(options):
    if not torch.cuda.is_available():
        yield Row("GPU table", "no GPU on this machine", "", None, None, 0.0, options.seed)
        return
    device = torch.device("cuda")
    card = torch.cuda.get_device_name()
    peaks = next((p for name, p in PEAKS.items() if name in card), None)
    torch.set_float32_matmul_precision("high")
    for name, precision, compile in (
        ("fp32", "fp32", False),
        ("bf16", "bf16", False),
        ("bf16 + compile", "bf16", True),
    ):
        torch.manual_seed(options.seed)
        config = tl.ModelConfig(
            vocab_size=32768, n_layers=12, n_heads=12, d_model=768, n_ctx=N_CTX, bias=False
        )
        model = tl.Transformer(config).to(device)
        ids = torch.randint(config.vocab_size, (BATCH, N_CTX + 1), device=device)
        batch = (ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        started = seconds = 0.0
        steps = tl.train(
            model, [batch], steps=WARM_UP + STEPS, precision=precision, compile=compile
        )
        for step in steps:
            if step.index == WARM_UP:
                torch.cuda.synchronize()
                started = time.perf_counter()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        rate = BATCH * N_CTX * STEPS / seconds
        flops = rate * (6 * model.n_parameters() + 12 * 12 * 768 * N_CTX)
        share = ""
        if peaks:
            share = f"{flops / 1e12 / peaks[precision == 'fp32']:.0%} of the card's peak"
        yield Row(
            f"{card}, GPT-2-small shape, {name}",
            round(rate),
            "tokens/s",
            None,
            None,
            round(seconds, 1),
            options.seed,
            note=share,
        )
        del model, steps
    yield from _tasks(device, options)
    from . import parallelism

    yield from parallelism.run(options, device="cuda")


def _tasks(device, options):
    """The training time of a few of the lessons' tasks on the card."""
    tasks = {
        "number words": (tl.datasets.number_words(), "encoder-decoder", 300),
        "reverse": (tl.datasets.reverse(), "encoder-decoder", 600),
        "induction": (tl.datasets.induction(), "decoder", 600),
        "reports": (tl.datasets.reports(), "encoder-decoder", 600),
    }
    from .training import MODERN, config_for

    for name, (data, kind, steps) in tasks.items():
        torch.manual_seed(options.seed)
        model = tl.Transformer(config_for(data, kind)).to(device)
        with Clock() as clock:
            for _ in tl.train(model, data.batches(64, kind=kind), steps=steps, **MODERN):
                pass
            torch.cuda.synchronize()
        exact = tl.exact_match(model, data.epoch(250, kind=kind))
        yield Row(
            f"{name} on the GPU, wall time of training",
            round(clock.wall, 1),
            "s",
            None,
            None,
            round(clock.wall, 1),
            options.seed,
            note=f"exact {exact:.3f}",
        )
