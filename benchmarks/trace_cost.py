"""The cost of a trace, relative to a plain fused pass of GPT-2 small's shape: time ≤ 1.05 ×, memory ≤ 1/6.

As our own model and as transformers' GPT-2 (124 M random weights), and an image in a ViT-B/16 (86 M).
Plain passes and traces take turns (plain, trace, trace, plain), so that anything else on the machine
slows both alike and neither always gets the memory that the other freed. Then plain passes and eager
ones that return every map take turns in the same way. Each row is the median over three processes of
the median ratio of the turns. The bar applies to CPU time. Wall time is reported as well; it means the
same only on an idle machine.
"""

import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch

import transformer_lab as tl

from .report import Clock, Row, at_most

LAYERS, HEADS, D_MODEL, VOCABULARY = 12, 12, 768, 50257
LENGTHS, TURNS, PROCESSES = (512, 1024), 5, 3


def run(options):
    for which in BUILDERS:
        for length in LENGTHS:
            yield from measure(which, length, options.seed)
    found, common = afresh(a_picture, options.seed)
    yield at_most(
        "trace / plain pass, CPU time, an image in a ViT-B/16", found["cpu"], 1.05, **common
    )


def afresh(work: Callable, *args) -> tuple[dict, dict]:
    """Run work(*args) in `PROCESSES` separate processes: the medians, and the fields of their row. How
    much memory a C library returns after a pass, and allocates again for the next, is settled early
    in a process and then stays the same, so a single process is a single roll of the dice."""
    context = multiprocessing.get_context("spawn")
    with Clock() as whole, ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        found = [pool.submit(work, *args).result() for _ in range(PROCESSES)]
    middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
    each = ", ".join(f"{one['cpu']:.3f}" for one in found)
    note = f"{middle['plain']:.2f} s plain; wall {middle['wall']:.2f} ×; each process: {each}"
    return middle, dict(unit="×", note=note, seconds=whole.wall, seed=args[-1])


@torch.no_grad()
def a_picture(seed: int) -> dict[str, float]:
    """224 × 224 pixels, 196 patches and [CLS], in transformers' ViT of its default size."""
    import transformers

    torch.manual_seed(seed)
    model = transformers.ViTModel(transformers.ViTConfig()).eval()
    pixels = torch.randn(1, 3, 224, 224)
    return compare(lambda: tl.trace(model, pixel_values=pixels), lambda: model(pixel_values=pixels))


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


BUILDERS = {"ours": our_model, "transformers": their_model}


@torch.no_grad()
def a_text(which: str, length: int, eager: bool, seed: int) -> dict[str, float]:
    """Compare a trace, or an eager pass with all maps, with a plain pass."""
    torch.manual_seed(seed)
    model = BUILDERS[which]()
    text = torch.randint(0, VOCABULARY, (1, length))
    plain, with_maps = ways(which, model, text)
    if eager:
        return compare(with_maps, plain)
    found = compare(lambda: tl.trace(model, text), plain)
    return {**found, "kept": tl.trace(model, text).kept_bytes()}


def measure(which: str, length: int, seed: int):
    name, maps = f"{which}, {length} tokens", LAYERS * HEADS * length * length * 4
    found, common = afresh(a_text, which, length, False, seed)
    yield at_most(f"trace / plain pass, CPU time, {name}", found["cpu"], 1.05, **common)
    if which != "ours":
        eager, beside = afresh(a_text, which, length, True, seed)
        label = f"eager pass with all maps / plain pass, CPU time, {name}"
        yield Row(label, round(eager["cpu"], 3), bar=None, holds=None, **beside)
    kept = found["kept"]
    common |= dict(unit="fraction", note=f"{kept / 1e6:.0f} of {maps / 1e6:.0f} MB")
    label = f"bytes kept by a trace / bytes of all maps, {name}"
    if length >= 1024:
        yield at_most(label, kept / maps, round(1 / 6, 4), **common)
    else:  # short texts keep values and the residual stream as well
        yield Row(label, round(kept / maps, 4), bar=None, holds=None, **common)


def ways(which, model, text) -> tuple[Callable, Callable | None]:
    """A plain pass, and an eager one with maps if the model offers it."""
    if which == "ours":
        return lambda: model(text), None

    def eager():
        model.set_attn_implementation("eager")
        try:
            return model(text, output_attentions=True, use_cache=False)
        finally:
            model.set_attn_implementation("sdpa")

    return lambda: model(text, use_cache=False), eager


def compare(work: Callable, plain: Callable) -> dict[str, float]:
    """`cpu`: CPU time of work / of plain; `wall`: the same for wall time; `plain`: CPU seconds of plain.
    All are medians over the turns after the first, which warms up. A turn is plain, work, work, plain,
    and has its own ratio, so that a machine that gets slower or faster favours neither side."""
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
    return {n: statistics.median(x) for n, x in dict(cpu=cpu, wall=wall, plain=seconds).items()}
