"""Training steps per CPU second, fp32: ours, Hugging Face GPT-2 (sdpa) and nn.TransformerEncoder.

The same shape, batches and fused AdamW; learned positions, LayerNorm first, biases, a tied head and no
dropout. Our GELU is that of the other model: tanh for GPT-2, erf for nn.TransformerEncoder. `tl.train`
trains ours and the usual loop the others. Each runs in a separate process, because `tl.train` lets
the allocator keep what a step frees, for the whole process. The processes take turns, a few steps each,
so that a busy machine slows them all alike. In nanoGPT's CPU shape the two are compared both eager and
compiled. What compiling costs (the CPU seconds of the first step, with nothing cached) is in the row's
note and not in the rate. One more row has both models in the usual loop of one process that keeps its
memory, and shows what the model alone gains. Bars: in nanoGPT's CPU shape ≥ 1.5 × Hugging Face and
≥ 1.25 × nn.TransformerEncoder; in the other shape ≥ 1.0 ×.
"""

import math
import os
import statistics
import subprocess
import sys

import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from transformer_lab.training.hardware import keep_freed_memory

from .report import Clock, Row, at_least

# name, batch, context, layers, heads, d_model, vocabulary
SHAPES = {
    "nanoGPT's CPU shape": (12, 64, 4, 4, 128, 65),
    "d 256, 256 tokens": (4, 256, 4, 4, 256, 1024),
}
SMALL = "nanoGPT's CPU shape"
OTHERS = {  # name: (its GELU, the bar in nanoGPT's CPU shape)
    "nn.TransformerEncoder": ("gelu", 1.25),
    "Hugging Face GPT-2 (sdpa)": ("gelu_tanh", 1.5),
}
ROUNDS, STEPS = 9, 4


class TorchModel(nn.Module):
    """A decoder made of torch.nn's layers."""

    def __init__(self, n_ctx, n_layers, n_heads, d_model, vocab):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        self.positions = nn.Embedding(n_ctx, d_model)
        layer = nn.TransformerEncoderLayer(
            d_model,
            n_heads,
            4 * d_model,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, n_layers, norm=nn.LayerNorm(d_model), enable_nested_tensor=False
        )
        mask = nn.Transformer.generate_square_subsequent_mask(n_ctx)
        self.register_buffer("mask", mask)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        x = self.layers(x, mask=self.mask, is_causal=True)
        return x @ self.embedding.weight.T


def ours(shape, activation):
    _, n_ctx, n_layers, n_heads, d_model, vocab = shape
    config = tl.ModelConfig(
        vocab_size=vocab,
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=d_model,
        n_ctx=n_ctx,
        positions="learned",
        activation=activation,
    )
    return tl.Transformer(config)


def other(who, shape):
    _, n_ctx, n_layers, n_heads, d_model, vocab = shape
    if who == "nn.TransformerEncoder":
        return TorchModel(n_ctx, n_layers, n_heads, d_model, vocab)
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocab,
        n_positions=n_ctx,
        n_embd=d_model,
        n_layer=n_layers,
        n_head=n_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        attn_implementation="sdpa",
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def usual_loop(model, inputs, targets):
    """Endless training steps, in the loop that people write by hand."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    while True:
        out = model(inputs)
        logits = out if isinstance(out, torch.Tensor) else out.logits
        F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield


def begun(which, who, name, how, seed):
    """Endless training steps of our model or the other, in one of the shapes, eager or compiled."""
    torch.manual_seed(seed)
    shape = SHAPES[name]
    tokens = torch.randint(shape[-1], (shape[0], shape[1] + 1))
    batch = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    if which == "ours":
        return tl.train(
            ours(shape, OTHERS[who][0]),
            [batch],
            steps=10**6,
            schedule="constant",
            clip=math.inf,
            precision="fp32",
            compile=how == "compiled",
            threads=1,
        )
    model = other(who, shape)
    return usual_loop(torch.compile(model) if how == "compiled" else model, *batch)


def work(which, who, name, how, seed):
    """The process of one model. For each number that it reads, it runs that many steps and prints
    their CPU seconds. Before that it prints those of building the model and of the first step, which
    may compile."""
    torch.set_num_threads(1)
    before = sum(os.times()[:4])  # its children's too: the C++ compiler
    steps = begun(which, who, name, how, int(seed))
    next(steps)
    print(sum(os.times()[:4]) - before, flush=True)
    for line in sys.stdin:
        with Clock() as clock:
            for _ in range(int(line)):
                next(steps)
        print(clock.cpu, flush=True)


class Process:
    """Another process that runs `work`."""

    def __init__(self, *what):
        command = [sys.executable, "-m", "benchmarks.throughput", *map(str, what)]
        pipe = subprocess.PIPE
        fresh = dict(TORCHINDUCTOR_FORCE_DISABLE_CACHES="1", TORCHINDUCTOR_COMPILE_THREADS="1")
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **fresh}
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.asked, self.said = self.process.stdin, self.process.stdout
        self.first = self._read()  # CPU seconds of the first step

    def _read(self) -> float:
        said = self.said.readline()
        if not said:
            raise RuntimeError(f"{self.process.args} ended")
        return float(said)

    def seconds(self, steps) -> float:
        """CPU seconds per step."""
        print(steps, file=self.asked, flush=True)
        return self._read() / steps

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.asked.close()
        self.process.wait(60)
        self.said.close()


def run(options):
    for who in OTHERS:
        try:
            torch.manual_seed(options.seed)
            other(who, SHAPES[SMALL])
        except ImportError:
            yield Row(who, "not installed", "", "≥ 1.0", None, 0, options.seed)
            continue
        for name in SHAPES:
            for how in ("eager", "compiled") if name == SMALL else ("eager",):
                bar = OTHERS[who][1] if name == SMALL else 1.0
                with (
                    Process("ours", who, name, how, options.seed) as mine,
                    Process("other", who, name, how, options.seed) as theirs,
                ):
                    times = by_turns(mine.seconds, theirs.seconds)
                costs = ""
                if how == "compiled":
                    costs = f"; the first step took {mine.first:.0f} and {theirs.first:.0f} s"
                yield row(f", ours / {who}, {name}, {how}", times, bar, name, options, costs)
        yield row(
            f" of the model alone, ours / {who}, {SMALL}", alone(who, options), None, SMALL, options
        )


def row(what, times, bar, name, options, more=""):
    """The median ratio of the two columns of times, over the rounds."""
    mine, theirs = times
    ratio = statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
    rate = math.prod(SHAPES[name][:2])
    a, b = (rate / statistics.median(column) for column in times)
    return at_least(
        f"training throughput{what}",
        ratio,
        bar,
        unit="×",
        seconds=STEPS * (sum(mine) + sum(theirs)),
        seed=options.seed,
        note=f"{a:,.0f} against {b:,.0f} tokens a CPU second{more}",
    )


def by_turns(mine, theirs) -> tuple[list[float], list[float]]:
    """CPU seconds per training step of both, for each round."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for i in (0, 1) if turn % 2 else (1, 0):
            seconds = (mine, theirs)[i](STEPS)
            if turn:  # the first round warms up
                times[i].append(seconds)
    return times


def alone(who, options) -> tuple[list[float], list[float]]:
    """Both models in the usual loop of this process."""
    keep_freed_memory()
    torch.manual_seed(options.seed)
    shape = SHAPES[SMALL]
    tokens = torch.randint(shape[-1], (shape[0], shape[1] + 1))
    batch = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    made = [usual_loop(model, *batch) for model in (ours(shape, OTHERS[who][0]), other(who, shape))]

    def seconds(steps, of):
        with Clock() as clock:
            for _ in range(steps):
                next(of)
        return clock.cpu / steps

    return by_turns(*(lambda n, of=steps: seconds(n, of) for steps in made))


if __name__ == "__main__":
    work(*sys.argv[1:])
