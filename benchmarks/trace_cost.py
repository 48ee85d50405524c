"""The cost of a trace, relative to a plain fused pass of GPT-2 small's shape: time ≤ 1.05 ×, memory ≤ 1/6.

Measured for our own model and transformers' GPT-2 (124 M random weights), and for an image in a
ViT-B/16 (86 M). For tiny models, the total that a trace adds to a pass: a Llama with two layers on
16 tokens, and the shipped model, compared with hooks that keep attention's outputs, and with an
empty trace of nnsight's if it is installed. Plain passes and traces take turns (plain, trace,
trace, plain), so that anything else on the machine slows both alike and neither always gets the
memory that the other freed. Then plain passes and eager ones that return every map take turns in
the same way. Each row is the median over three processes of the median ratio of the turns. The bar
applies to CPU time. Wall time is reported as well; it means the same only on an idle machine.
"""

import copy
import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec

import torch

import transformer_lab as tl

from .report import Clock, Row, at_most

LAYERS, HEADS, D_MODEL, VOCABULARY = 12, 12, 768, 50257
LENGTHS, TURNS, PROCESSES = (512, 1024), 5, 3
TIMES = 100  # passes of a tiny model in a turn
TINY = {"llama": "a Llama with two layers", "shipped": "the shipped model"}
FIXED = {"llama": 0.4, "shipped": 0.3}  # ms
WAYS = {"hooks": "two hooks", "trace": "a trace", "nnsight": "an empty trace of nnsight"}


def run(options):
    for which in BUILDERS:
        for length in LENGTHS:
            yield from measure(which, length, options.seed)
    for which, bar in FIXED.items():
        for way in ("hooks", "trace", "nnsight"):
            if way == "nnsight" and (which == "shipped" or find_spec("nnsight") is None):
                continue
            found, common = afresh(a_tiny_model, which, way, options.seed)
            label = f"what {WAYS[way]} adds / plain pass, CPU time, {TINY[which]}"
            added = found["cpu"] - 1
            common |= dict(note=f"{1e3 * added * found['plain'] / TIMES:.2f} ms; {common['note']}")
            if way == "trace" and bar is not None:
                common["note"] += f"; the bar is {bar} ms on an idle machine"
            yield Row(label, round(added, 3), bar=None, holds=None, **common)
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


@torch.no_grad()
def a_tiny_model(which: str, way: str, seed: int) -> dict[str, float]:
    """Compare many passes of one kind with as many plain passes."""
    import transformers

    torch.manual_seed(seed)
    if which == "shipped":
        text = tl.shipped("manual")
        model, ids = text.model, text.encode("for key in self.keys():")[None]
        attention = [block.attention for block in model.decoder.blocks]
        plain = partial(model, ids)
    else:
        sizes = dict(hidden_size=32, intermediate_size=64, num_attention_heads=4)
        config = transformers.LlamaConfig(vocab_size=100, num_hidden_layers=2, **sizes)
        model, ids = transformers.LlamaForCausalLM(config).eval(), torch.arange(16)[None]
        attention = [layer.self_attn for layer in model.model.layers]
        plain = partial(model, ids, use_cache=False)

    def hooks():
        kept = []
        hooks = [m.register_forward_hook(lambda *x: kept.append(x[-1])) for m in attention]
        plain()
        for hook in hooks:
            hook.remove()

    def nnsight():
        with wrapped.trace(ids, use_cache=False):
            pass

    if way == "nnsight":
        from nnsight import NNsight  # pyright: ignore[reportMissingImports]

        wrapped = NNsight(copy.deepcopy(model))  # a copy, since its hooks stay registered
    work = {"hooks": hooks, "trace": partial(tl.trace, model, ids), "nnsight": nnsight}[way]
    return compare(partial(many, work), partial(many, plain))


def many(work: Callable) -> None:
    for _ in range(TIMES):
        work()


def our_model():
    return tl.Transformer(
        tl.ModelConfig(
            vocab_size=VOCABULARY,
            n_layers=LAYERS,
            n_heads=HEADS,
            d_model=D_MODEL,
            n_ctx=1024,
            positions="learned",
            activation="gelu_tanh",
        )
    ).eval()


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
