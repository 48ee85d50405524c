"""What a trace costs beside a plain fused pass, GPT-2 small's shape: time ≤ 1.05 ×, memory ≤ 1/6.

As our own model and as transformers' GPT-2 (124 M random weights). Plain passes, traces and eager
passes that return every map take turns, so that whatever else the machine does slows all alike;
the medians of the turns after the first are compared. CPU time is held to the bar, and wall time
is told beside it: it means the same on an idle machine only.
"""

import statistics
from collections.abc import Callable

import torch

import transformer_lab as tl

from .report import Clock, Row, at_most

LAYERS, HEADS, D_MODEL, VOCABULARY = 12, 12, 768, 50257
LENGTHS, TURNS = (512, 1024), 4


def run(options):
    for which, build in (("ours", our_model), ("transformers", their_model)):
        torch.manual_seed(options.seed)
        model = build()
        for length in LENGTHS:
            yield from measure(which, model, length, options.seed)


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
    with Clock() as whole:
        clocks = take_turns(ways(which, model, text))
        kept = tl.trace(model, text).kept_bytes()
    told = dict(seconds=whole.cpu, seed=seed)
    cpu = {way: statistics.median(c.cpu for c in turns) for way, turns in clocks.items()}
    wall = {way: statistics.median(c.wall for c in turns) for way, turns in clocks.items()}
    name, maps = f"{which}, {length} tokens", LAYERS * HEADS * length * length * 4
    yield at_most(
        f"trace / plain pass, CPU time, {name}", cpu["trace"] / cpu["plain"], 1.05, unit="×",
        note=f"{cpu['plain']:.2f} s plain; wall {wall['trace'] / wall['plain']:.2f} ×", **told,
    )  # fmt: skip
    if "eager" in cpu:
        ratio = round(cpu["eager"] / cpu["plain"], 3)
        note = f"wall {wall['eager'] / wall['plain']:.2f} ×"
        label = f"eager pass with all maps / plain pass, CPU time, {name}"
        yield Row(label, ratio, "×", None, None, round(whole.cpu, 1), seed, note)
    note = f"{kept / 1e6:.0f} of {maps / 1e6:.0f} MB"
    if length >= 1024:
        yield at_most(
            f"kept by a trace / all maps, {name}", kept / maps, round(1 / 6, 4), note=note, **told
        )
    else:  # short texts keep values and the residual stream as well
        label, share = f"kept by a trace / all maps, {name}", round(kept / maps, 4)
        yield Row(label, share, "share", None, None, round(whole.cpu, 1), seed, note)


def ways(which, model, text) -> dict[str, Callable[[], object]]:
    if which == "ours":
        return {"plain": lambda: model(text), "trace": lambda: tl.trace(model, text)}

    def eager():
        model.set_attn_implementation("eager")
        try:
            return model(text, output_attentions=True, use_cache=False)
        finally:
            model.set_attn_implementation("sdpa")

    return {
        "plain": lambda: model(text, use_cache=False),
        "trace": lambda: tl.trace(model, text),
        "eager": eager,
    }


def take_turns(work: dict[str, Callable[[], object]]) -> dict[str, list[Clock]]:
    """The clocks of every way, less the first turn's, which warms up."""
    clocks: dict[str, list[Clock]] = {way: [] for way in work}
    for turn in range(TURNS + 1):
        for way in work if turn % 2 else reversed(work):  # nobody always follows the same one
            with Clock() as clock:
                work[way]()
            if turn:
                clocks[way].append(clock)
    return clocks
