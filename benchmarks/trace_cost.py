"""What a trace costs beside a plain fused pass, GPT-2 small's shape: time ≤ 1.05 ×, memory ≤ 1/6.

As our own model and as transformers' GPT-2 (124 M random weights), and a picture in a ViT-B/16 (86 M).
Plain passes and traces take turns (plain, trace, trace, plain), so that whatever else the machine
does slows both alike and neither always finds the memory that the other left; then plain passes
and eager ones that return every map. The median of the turns' ratios is told. CPU time is held to
the bar, and wall time is told beside it: it means the same on an idle machine only.
"""

import statistics
from collections.abc import Callable

import torch

import transformer_lab as tl

from .report import Clock, Row, at_most

LAYERS, HEADS, D_MODEL, VOCABULARY = 12, 12, 768, 50257
LENGTHS, TURNS = (512, 1024), 8


def run(options):
    for which, build in (("ours", our_model), ("transformers", their_model)):
        torch.manual_seed(options.seed)
        model = build()
        for length in LENGTHS:
            yield from measure(which, model, length, options.seed)
    yield from a_picture(options.seed)


@torch.no_grad()
def a_picture(seed):
    """224 × 224 pixels, 196 patches and [CLS], in transformers' ViT of its default size."""
    import transformers

    torch.manual_seed(seed)
    model = transformers.ViTModel(transformers.ViTConfig()).eval()
    pixels = torch.randn(1, 3, 224, 224)
    with Clock() as whole:
        cpu, wall, seconds = compare(
            lambda: tl.trace(model, pixel_values=pixels), lambda: model(pixel_values=pixels)
        )
    yield at_most(
        "trace / plain pass, CPU time, a picture in a ViT-B/16", cpu, 1.05, unit="×",
        note=f"{seconds:.2f} s plain; wall {wall:.2f} ×", seconds=whole.cpu, seed=seed,
    )  # fmt: skip


def our_model():
    return tl.Transformer(
        tl.ModelConfig(
            vocab_size=VOCABULARY, n_layers=LAYERS, n_heads=HEADS, d_model=D_MODEL, n_ctx=1024,
            positions="learned", activation="gelu_tanh",
        )
    ).eval()  # fmt: skip


def their_model():
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config).eval()


@torch.no_grad()
def measure(which, model, length, seed):
    text = torch.randint(0, VOCABULARY, (1, length))
    plain, eager = ways(which, model, text)
    with Clock() as whole:
        cpu, wall, seconds = compare(lambda: tl.trace(model, text), plain)
        kept = tl.trace(model, text).kept_bytes()
        eager_cpu, eager_wall, _ = compare(eager, plain) if eager else (None, None, None)
    told = dict(seconds=whole.cpu, seed=seed)
    name, maps = f"{which}, {length} tokens", LAYERS * HEADS * length * length * 4
    yield at_most(
        f"trace / plain pass, CPU time, {name}", cpu, 1.05, unit="×",
        note=f"{seconds:.2f} s plain; wall {wall:.2f} ×", **told,
    )  # fmt: skip
    if eager_cpu:
        label, note = (
            f"eager pass with all maps / plain pass, CPU time, {name}",
            f"wall {eager_wall:.2f} ×",
        )
        yield Row(label, round(eager_cpu, 3), "×", None, None, round(whole.cpu, 1), seed, note)
    note = f"{kept / 1e6:.0f} of {maps / 1e6:.0f} MB"
    if length >= 1024:
        yield at_most(
            f"kept by a trace / all maps, {name}", kept / maps, round(1 / 6, 4), note=note, **told
        )
    else:  # short texts keep values and the residual stream as well
        label, share = f"kept by a trace / all maps, {name}", round(kept / maps, 4)
        yield Row(label, share, "share", None, None, round(whole.cpu, 1), seed, note)


def ways(which, model, text) -> tuple[Callable, Callable | None]:
    """A plain pass, and an eager one with maps where the model knows it."""
    if which == "ours":
        return lambda: model(text), None

    def eager():
        model.set_attn_implementation("eager")
        try:
            return model(text, output_attentions=True, use_cache=False)
        finally:
            model.set_attn_implementation("sdpa")

    return lambda: model(text, use_cache=False), eager


def compare(work: Callable, plain: Callable) -> tuple[float, float, float]:
    """(CPU time of work / of plain, the same of wall time, CPU seconds of plain): medians over the
    turns after the first, which warms up. A turn is plain, work, work, plain, and has a ratio of
    its own, so that a machine that gets slower or faster meanwhile weighs on neither side."""
    cpu, wall, seconds = [], [], []
    for turn in range(TURNS + 1):
        clocks: dict[Callable, list[Clock]] = {plain: [], work: []}
        for way in (plain, work, work, plain):
            with Clock() as clock:
                way()
            clocks[way].append(clock)
        if turn:
            cpu.append(sum(c.cpu for c in clocks[work]) / sum(c.cpu for c in clocks[plain]))
            wall.append(sum(c.wall for c in clocks[work]) / sum(c.wall for c in clocks[plain]))
            seconds += [c.cpu for c in clocks[plain]]
    return statistics.median(cpu), statistics.median(wall), statistics.median(seconds)
