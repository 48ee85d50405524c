"""How close training, traces, sweeps and views come to what this machine can do: limits.md.

The limit for arithmetic is the rate of matrix products in the training step's own shapes, on one
thread; the limit for memory is copying 128 MB. A step counts as 6 operations per weight and token,
a pass as 2, as is usual. Attention itself is not counted, so the fractions are a little low. Products
and steps take turns, and each number is the fastest of them, the one that other programs disturb least.

Bars: a step of the modern recipe reaches ≥ 0.457 of the products' rate (80 of 175 GFLOP/s), a GPT
block with AdamW ≥ 0.543 (95 of 175). Compiled steps are listed beside them; `throughput` reports what
compiling costs.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

import transformer_lab as tl
from transformer_lab.optim import gains_by_bf16, recipe
from transformer_lab.training.hardware import keep_freed_memory
from transformer_lab.training.objective import CrossEntropy

from .report import Clock, at_least, machine

BATCH, N_CTX, D_MODEL, LAYERS, HEADS, VOCABULARY = 12, 64, 128, 4, 4, 65
TURNS = 12
KINDS = {  # kinds of operations, by how their names begin
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "attention": ("aten::_scaled_dot_product",),
    "copies": ("aten::copy_", "aten::cat", "aten::clone", "aten::stack"),
    "the optimizer's own kernel": ("aten::_fused_adamw", "aten::lerp", "aten::_foreach"),
    "norms, activations, sums (elementwise)": ("aten::",),
}
REST = "Python, autograd, memory"


def best(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def by_turns(turns: int = TURNS, **works: Callable[[], object]) -> dict[str, float]:
    """The least CPU seconds of each, over several turns after a warm-up."""
    for work in works.values():
        work()
    least = dict.fromkeys(works, float("inf"))
    for _ in range(turns):
        for name, work in works.items():
            least[name] = min(least[name], best(work))
    return least


def products(a: torch.Tensor, b: torch.Tensor, times: int) -> Callable[[], None]:
    """A function that computes a @ b `times` times, into the same memory."""
    out = a @ b

    def work():
        for _ in range(times):
            torch.mm(a, b, out=out)

    return work


def step_of(make: Callable, name: str, seed: int, compiled: bool) -> tuple[Callable, Callable, int]:
    """(forward and backward, the optimizers' step, number of weights) for one kind of model and recipe."""
    torch.manual_seed(seed)
    config = make(
        vocab_size=VOCABULARY, n_layers=LAYERS, n_heads=HEADS, d_model=D_MODEL, n_ctx=N_CTX
    )
    model = tl.Transformer(config).train()
    text = torch.randint(VOCABULARY, (BATCH, N_CTX + 1))
    batch = (text[:, :-1].contiguous(), text[:, 1:].contiguous())
    optimizers, loss = recipe(name).build(model, 100), CrossEntropy()
    forward = torch.compile(model) if compiled else model
    keep_freed_memory()  # as `tl.train` does

    def gradient():
        for parameter in model.parameters():
            parameter.grad = None
        loss(forward, batch).backward()

    def update():
        for optimizer in optimizers:
            optimizer.step()

    return gradient, update, sum(p.numel() for p in model.parameters())


def plain(**sizes):
    return tl.ModelConfig(positions="learned", activation="gelu", **sizes)


def spent(work: Callable[[], object]) -> dict[str, float]:
    """The fraction of CPU time that each kind of operation takes."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(5):
            work()
    totals = dict.fromkeys([*KINDS, REST], 0.0)
    for event in found.key_averages():
        views = ("view", "transpose", "t", "as_strided", "empty", "slice", "select", "expand")
        name = event.key if event.key.removeprefix("aten::") not in views else ""
        kind = next((k for k, starts in KINDS.items() if name.startswith(starts)), REST)
        totals[kind] += event.self_cpu_time_total
    whole = sum(totals.values())
    return {kind: part / whole for kind, part in totals.items()}


def run(options):
    lines: list[str] = []
    with Clock() as whole:
        rate, memory = yield from _machine(lines, options)
        yield from _training(lines, options)
        _passes(lines, options, rate, memory)
        _views(lines, options)
    about = machine()
    where = f"{about['cpu']}, one thread, torch {about['versions']['torch']}"
    text = TEXT.format(lines="\n".join(lines), where=where, load=about["load"])
    (Path(options.out) / "limits.md").write_text(text)
    print(f"limits.md is written [{whole.cpu:.1f} s]", flush=True)


def _machine(lines, options):
    x, w = torch.randn(BATCH * N_CTX, D_MODEL), torch.randn(D_MODEL, 4 * D_MODEL)
    square, big = torch.randn(D_MODEL, D_MODEL), torch.randn(1024, 1024)
    floats = torch.randn(32 * 2**20)
    target = torch.empty_like(floats)
    with Clock() as clock:
        least = by_turns(
            wide=products(x, w, 20), narrow=products(x, square, 80), large=products(big, big, 1)
        )
        # Measured separately, because it evicts the small products from the caches.
        least |= by_turns(copy=lambda: target.copy_(floats))
    wide = 20 * 2 * x.numel() * w.shape[1] / least["wide"] / 1e9
    narrow = 80 * 2 * x.numel() * D_MODEL / least["narrow"] / 1e9
    large = 2 * 1024**3 / least["large"] / 1e9
    memory = 2 * floats.numel() * 4 / least["copy"] / 1e9
    lines += [
        "## The machine",
        "",
        "| | |",
        "|:--|--:|",
        f"| a matrix product of 768 × 128 and 128 × 512, as in a feed-forward layer | {wide:.0f} GFLOP/s |",
        f"| a matrix product of 768 × 128 and 128 × 128, as in attention | {narrow:.0f} GFLOP/s |",
        f"| a matrix product of two 1024 × 1024 matrices | {large:.0f} GFLOP/s |",
        f"| copying 128 MB, counting both reads and writes | {memory:.1f} GB/s |",
        "",
    ]
    common = dict(seconds=clock.cpu, seed=options.seed)
    yield at_least(
        "matrix products with the shapes of a training step", wide, None, unit="GFLOP/s", **common
    )
    return large, memory


def _training(lines, options):
    kinds = {
        "the modern block and recipe (Muon)": (tl.ModelConfig.modern, "modern", 0.457),
        "a GPT block with AdamW": (plain, "adamw", 0.543),
    }
    eager = list(kinds)
    kinds |= {f"{name}, compiled": of for name, of in kinds.items()}
    lines += [
        "## A training step",
        "",
        "nanoGPT's CPU shape: 4 layers, 4 heads, d 128, batches of 12 × 64 letters. Steps run in fp32; Muon's own products "
        f"run in {'bf16, which is faster here' if gains_by_bf16(torch.empty(D_MODEL, D_MODEL)) else 'fp32 too'}.",
        "",
        "| | step | the optimizer's part | rate | relative to the products' rate |",
        "|:--|--:|--:|--:|--:|",
    ]
    parts = {}
    x, w = torch.randn(BATCH * N_CTX, D_MODEL), torch.randn(D_MODEL, 4 * D_MODEL)
    for name, (make, optimizer, bar) in kinds.items():
        compiled = name not in eager
        gradient, update, n = step_of(make, optimizer, options.seed, compiled)
        with Clock() as clock:
            least = by_turns(gradient=gradient, update=update, product=products(x, w, 20))
        here = 20 * 2 * x.numel() * w.shape[1] / least["product"] / 1e9
        step = least["gradient"] + least["update"]
        reached = 6 * n * BATCH * N_CTX / step / 1e9
        lines.append(
            f"| {name} | {1e3 * step:.1f} ms | {least['update'] / step:.0%} | {reached:.1f} GFLOP/s | "
            f"{reached / here:.2f} |"
        )
        if not compiled:
            parts[name] = spent(lambda g=gradient, u=update: (g(), u()))
        yield at_least(
            f"rate of a training step / of its matrix products, {name}",
            reached / here,
            bar,
            seconds=clock.cpu,
            seed=options.seed,
            note=f"{reached:.1f} of {here:.0f} GFLOP/s, {1e3 * step:.1f} ms a step",
        )
    lines += ["", "Where the time goes:", "", f"| | {' | '.join(eager)} |", "|:--|--:|--:|"]
    for kind in [*KINDS, REST]:
        lines.append(f"| {kind} | " + " | ".join(f"{parts[n][kind]:.0%}" for n in eager) + " |")
    lines.append("")


@torch.no_grad()
def _passes(lines, options, rate, memory):
    """Traces and sweeps of a GPT-2-small shape."""
    from .trace_cost import our_model

    torch.manual_seed(options.seed)
    model = our_model()
    n = sum(p.numel() for p in model.decoder.parameters())
    n += model.head.weight.numel()
    lines += [
        "## Traces and sweeps",
        "",
        "GPT-2 small's shape with random weights. A forward pass counts as 2 operations per weight and token.",
        "",
        "| | CPU time | rate | relative to the rate of large products |",
        "|:--|--:|--:|--:|",
    ]
    for length in (128, 512):
        text = torch.randint(1, VOCABULARY, (1, length))
        least = by_turns(3, plain=lambda t=text: model(t), trace=lambda t=text: tl.trace(model, t))
        for name, key in (("a plain pass", "plain"), ("a trace", "trace")):
            reached = 2 * n * length / least[key] / 1e9
            lines.append(
                f"| {name}, {length} tokens | {1e3 * least[key]:.0f} ms | {reached:.0f} GFLOP/s | "
                f"{reached / rate:.2f} |"
            )
    text = torch.randint(1, VOCABULARY, (1, 128))
    with Clock() as clock:
        heads = tl.sweep_heads(model, text).values.numel()
    reached = heads * 2 * n * 128 / clock.cpu / 1e9
    lines += [
        f"| switching off each of {heads} heads, 128 tokens | {clock.cpu:.1f} s | "
        f"{reached:.0f} GFLOP/s | {reached / rate:.2f} |",
        "",
        "The sweep counts as one whole pass per head, which is what it would take by hand. In fact it starts at the "
        "layer of the head, so its rate can exceed the limit. For a single token, a pass reads every weight once: "
        f"{n * 4 / 1e6:.0f} MB, or {n * 4 / memory / 1e6:.0f} ms at the rate of a copy.",
        "",
    ]


def _views(lines, options):
    """The size of a page compared with that of its maps."""
    import tempfile

    torch.manual_seed(options.seed)
    config = tl.ModelConfig(vocab_size=VOCABULARY, n_layers=12, n_heads=12, d_model=96, n_ctx=512)
    model = tl.Transformer(config).eval()
    lines += [
        "## Views",
        "",
        "A page with a HeadView of 12 × 12 heads, complete. The size of the maps counts one byte "
        "for each weight that the causal mask allows.",
        "",
        "| tokens | page | maps | page / maps |",
        "|--:|--:|--:|--:|",
    ]
    for length in (32, 128, 512):
        found = tl.trace(model, torch.randint(VOCABULARY, (1, length)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            tl.views.HeadView(found).save_html(path)
            size = path.stat().st_size
        maps = 144 * length * (length + 1) / 2
        lines.append(
            f"| {length} | {size / 1e6:.2f} MB | {maps / 1e6:.2f} MB | {size / maps:.2f} |"
        )
    lines.append("")


TEXT = """# How close to the limit

What this machine can do, how much of it training, traces and views use, and where the rest goes.
`python -m benchmarks limits` writes this page; nothing on it is edited by hand.

{lines}
Measured on: {where}; load {load} at the time of writing.
"""
