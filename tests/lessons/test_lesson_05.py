"""The checks of lesson 05's decoder accept right answers, however written, and name mistakes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.graders.lesson_05 import config_of
from transformer_lab.lessons.solutions import lesson_05 as solutions


def rotary_rolled(x, base=10000.0):
    d = x.shape[-1]
    angles = torch.zeros(x.shape[-2], d)
    for place in range(len(angles)):
        for i in range(d):
            angles[place, i] = place / base ** (2 * (i % (d // 2)) / d)
    signs = torch.where(torch.arange(d) < d // 2, -1.0, 1.0)
    return x * angles.cos() + x.roll(d // 2, -1) * angles.sin() * signs


class Attention(nn.Module):
    """Written head by head."""

    def __init__(self, config):
        super().__init__()
        make = lambda: nn.Linear(config.d_model, config.d_model, config.bias)  # noqa: E731
        self.out, self.value, self.key, self.query = (make() for _ in range(4))
        self.n, self.rotary = config.n_heads, config.positions == "rotary"

    def turned(self, x):
        return rotary_rolled(x) if self.rotary else x

    def forward(self, x):
        heads, width = [], x.shape[-1] // self.n
        for h in range(self.n):
            cut = slice(h * width, (h + 1) * width)
            q = self.turned(self.query(x)[..., cut])
            k = self.turned(self.key(x)[..., cut])
            v = self.value(x)[..., cut]
            scores = torch.einsum("bqd,bkd->bqk", q, k) / math.sqrt(width)
            scores = scores + torch.full(scores.shape[-2:], -math.inf).triu(1)
            heads.append(scores.softmax(-1) @ v)
        return self.out(torch.cat(heads, -1))


class FusedAttention(solutions.SelfAttention):
    def forward(self, x):
        shape = (*x.shape[:2], self.config.n_heads, -1)
        q, k, v = (m(x).view(shape).permute(0, 2, 1, 3) for m in (self.query, self.key, self.value))
        if self.config.positions == "rotary":
            q, k = rotary_rolled(q), rotary_rolled(k)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(z.permute(0, 2, 1, 3).reshape(x.shape))


class Nameless(Attention):
    def __init__(self, config):
        super().__init__(config)
        self.project = self.query
        del self.query


class BlockByParts(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.d_model
        self.up = nn.Linear(d, 4 * d, bias=config.bias)
        self.down = nn.Linear(4 * d, d, bias=config.bias)
        self.attention = FusedAttention(config)
        self.norm1, self.norm2 = (nn.LayerNorm(d, bias=config.bias) for _ in range(2))
        self.bend = nn.GELU(approximate=config.gelu)

    def feed_forward(self, x):
        return self.down(self.bend(self.up(x)))

    def forward(self, x):
        for norm, part in ((self.norm1, self.attention), (self.norm2, self.feed_forward)):
            x = part(norm(x)) + x
        return x


class BlockInOneLine(BlockByParts):
    def forward(self, x):
        return (y := x + self.attention(self.norm1(x))) + self.feed_forward(self.norm2(y))


class DecoderByStack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.embedding.weight = self.head.weight
        self.positions = None
        if config.positions == "learned":
            self.positions = nn.Embedding(config.n_ctx, config.d_model)
        self.blocks = nn.Sequential(*[BlockByParts(config) for _ in range(config.n_layers)])
        self.norm = nn.LayerNorm(config.d_model, bias=config.bias)

    def forward(self, tokens):
        x = F.embedding(tokens, self.embedding.weight)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.embedding.weight)


class PlainList(solutions.Decoder):
    def __init__(self, config):
        super().__init__(config)
        blocks = list(self.blocks)
        del self.blocks
        self.blocks = blocks


class Untied(DecoderByStack):
    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)


def no_super(config):
    class Bare(nn.Module):
        def __init__(self):
            self.query = nn.Linear(2, 2)

    return Bare()


def loop_with_scheduler(model, batches, steps, lr, warmup, clip):
    optimizer = torch.optim.AdamW(list(model.parameters()), lr=lr)

    def factor(s):
        if s < warmup:
            return (s + 1) / warmup
        return 0.5 + 0.5 * math.cos(math.pi * (s - warmup) / (steps - warmup))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    rows, source = [], iter(batches)
    for _ in range(steps):
        batch = next(source)
        model.zero_grad()
        found = model(batch.tokens).log_softmax(-1)
        loss = -found.gather(-1, batch.targets[..., None]).mean()
        loss.backward()
        length = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        if length > clip:
            for p in model.parameters():
                p.grad *= clip / length
        rows.append(torch.stack([loss.detach(), length]))
        optimizer.step()
        schedule.step()
    return torch.stack(rows)


def loop_in_order(model, batches, steps, lr, warmup, clip):
    optimizer, told = torch.optim.AdamW(model.parameters()), []
    for step in range(steps):
        batch = next(batches)
        t = (step - warmup) / (steps - warmup)
        rate = (step + 1) / warmup if step < warmup else math.cos(math.pi * t / 2) ** 2
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        loss = F.cross_entropy(model(batch.tokens).transpose(1, 2), batch.targets)
        loss.backward()
        told.append((float(loss), float(nn.utils.clip_grad_norm_(model.parameters(), clip))))
        optimizer.step()
        optimizer.zero_grad()
    return torch.tensor(told)


def generate_with_room(model, tokens, n, n_ctx, choose):
    """A preallocated tensor, filled in."""
    batch, length = tokens.shape
    text = tokens.new_zeros(batch, length + n)
    text[:, :length] = tokens
    with torch.inference_mode():
        for i in range(length, length + n):
            text[:, i] = choose(model(text[:, max(0, i - n_ctx) : i]).select(1, -1))
    return text.clone()


@torch.no_grad()
def generate_by_rows(model, tokens, n, n_ctx, choose):
    """Lists, and a while loop."""
    rows = tokens.tolist()
    while len(rows[0]) < tokens.shape[1] + n:
        logits = model(torch.tensor([row[-n_ctx:] for row in rows]))
        for row, token in zip(rows, choose(logits[:, -1, :]).tolist(), strict=True):
            row.append(token)
    return torch.tensor(rows)


def generate_again(model, tokens, n, n_ctx, choose):
    """Recursive."""
    if n == 0:
        return tokens
    with torch.no_grad():
        new = choose(model(tokens[:, -n_ctx:])[:, -1])
    return generate_again(model, torch.hstack((tokens, new.unsqueeze(1))), n - 1, n_ctx, choose)


@torch.no_grad()
def generate_cut(model, tokens, n, n_ctx, choose):
    for _ in range(n):
        tokens = tokens[:, -n_ctx:]
        tokens = torch.cat((tokens, choose(model(tokens)[:, -1])[:, None]), 1)
    return tokens


def generate_cut_first(model, tokens, n, n_ctx, choose):
    """Accepted before, since no text was longer than n_ctx at first."""
    return solutions.generate(model, tokens[:, -n_ctx:], n, n_ctx, choose)


def generate_cut_last(model, tokens, n, n_ctx, choose):
    for _ in range(n):
        tokens = solutions.generate(model, tokens, 1, n_ctx, choose)[:, -n_ctx:]
    return tokens


def with_gradients(model, tokens, n, n_ctx, choose):
    for _ in range(n):
        new = choose(model(tokens[:, -n_ctx:])[:, -1])[:, None]
        tokens = torch.cat((tokens, new), 1)
    return tokens


RIGHT = {
    "SelfAttention": (Attention, FusedAttention),
    "Block": (BlockByParts, BlockInOneLine),
    "Decoder": (DecoderByStack, type("Sub", (solutions.Decoder,), {})),
    "generate": (generate_with_room, generate_by_rows, generate_again),
    "train_loop": (loop_with_scheduler, loop_in_order),
}
WRONG = {
    "SelfAttention": {
        "another name": (Nameless, ["no weights `query.weight`", "`project.weight`"]),
        "no super": (no_super, ["AttributeError", "before Module.__init__() call"]),
        "a function": (lambda config: torch.zeros(2), ["not a module", "nn.Module"]),
    },
    "Decoder": {
        "a plain list": (PlainList, ["blocks.0.", "plain list", "nn.ModuleList"]),
        "not tied": (Untied, ["Tie it to the embedding"]),
    },
    "generate": {
        "gradients on": (with_gradients, "torch.no_grad()"),
        "the text is cut": (generate_cut, "keep the whole text"),
        "the text is cut at first": (generate_cut_first, "keep the whole text"),
        "the text is cut at last": (generate_cut_last, "keep the whole text"),
    },
}


test_right, test_odd, test_wrong = checks_of("05", RIGHT, WRONG, odd=["generate"])


class Stub(nn.Module):
    def __init__(self, *_):
        super().__init__()
        raise NotImplementedError


class Half(solutions.SelfAttention):
    def forward(self, x):
        raise NotImplementedError


def odd(what):
    def forward(self, *_):
        return what() if callable(what) else what

    return forward


def endless():
    while True:
        pass


CLASSES = {
    "SelfAttention": solutions.SelfAttention,
    "Block": solutions.Block,
    "Decoder": solutions.Decoder,
}
ODD = {
    "nothing": (None, "`forward` returned nothing"),
    "text": ("right", "`forward` returned a str"),
    "a list": ([1, 2], "2 things"),
    "whole numbers": (lambda: torch.zeros(2, dtype=torch.long), "torch.int64"),
    "no axis": (lambda: torch.tensor(0.5), "has shape []"),
    "exit": (exit, "ended the program"),
    "its own error": (lambda: {}["x"], "KeyError"),
}


@pytest.mark.parametrize("name", CLASSES)
def test_checks_of_classes_never_crash(name, judged):
    right = CLASSES[name]
    assert judged(f"05/{name}", Stub).status == "empty"
    for what, (value, said) in ODD.items():
        made = type("Odd", (right,), {"forward": odd(value)})
        result = judged(f"05/{name}", made)
        assert not result.passed, what
        assert said in result.diagnosis, (what, result.diagnosis)
    made = type("Endless", (right,), {"forward": odd(endless)})
    assert "did not finish" in judged(f"05/{name}", made, seconds=0.5).diagnosis

    class Loud(right):
        def forward(self, *arguments):
            print("looking at", len(arguments))
            return super().forward(*arguments)

    result = judged(f"05/{name}", Loud)
    assert result.passed, result.diagnosis
    assert result.printed.startswith("looking at")
    assert "your class" in result.diagnosis


def test_a_method_that_is_not_written_is_empty_and_an_error_names_its_line(judged):
    assert judged("05/SelfAttention", Half).status == "empty"

    class Broken(solutions.SelfAttention):
        def forward(self, x):
            return self.query(x) @ self.key(x)

    said = judged("05/SelfAttention", Broken).diagnosis
    assert "RuntimeError at `return self.query(x) @ self.key(x)`" in said


def test_the_solutions_agree_with_the_package_and_with_the_model_that_ships():
    shipped = tl.shipped("manual").model
    c = shipped.config
    config = config_of(
        vocab_size=c.vocab_size,
        d_model=c.d_model,
        n_heads=c.n_heads,
        n_layers=c.n_layers,
        bias=False,
    )
    mine = solutions.Decoder(config).eval()
    names = {"decoder.": "", "feed_forward.": "", "norm3": "norm2", "target_embedding": "embedding"}
    state = {}
    for name, weight in shipped.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = weight
    mine.load_state_dict(state)
    tokens = torch.randint(c.vocab_size, (2, 40), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mine(tokens), shipped(tokens), atol=1e-4, rtol=1e-4)
    q = torch.randn(1, 4, 40, 32)
    rotated = shipped.positions.rotate(q, torch.arange(40))
    torch.testing.assert_close(solutions.rotary(q), rotated, atol=1e-5, rtol=1e-5)
