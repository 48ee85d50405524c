"""The checks of lesson 05's decoder accept right answers, however written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from transformer_lab.lessons.graders.lesson_05 import config_of
from transformer_lab.lessons.solutions import lesson_05 as solutions


def rotary_rolled(x, base=10000.0, first=0, sign=1.0, power=2.0, axis=-2):
    d = x.shape[-1]
    angles = torch.zeros(x.shape[axis], d)
    for place in range(len(angles)):
        for i in range(d):
            angles[place, i] = (place + first) / base ** (power * (i % (d // 2)) / d)
    signs = torch.where(torch.arange(d) < d // 2, -1.0, 1.0) * sign
    return x * angles.cos() + x.roll(d // 2, -1) * angles.sin() * signs


# -- the modules, each with steps that can be exchanged ----------------------------------------------


class Attention(nn.Module):
    """Written head by head."""

    scale, turn, causal, out_used = staticmethod(math.sqrt), ("q", "k"), True, True

    def __init__(self, config):
        super().__init__()
        make = lambda: nn.Linear(config.d_model, config.d_model, config.bias)  # noqa: E731
        self.out, self.value, self.key, self.query = (make() for _ in range(4))
        self.n, self.rotary = config.n_heads, config.positions == "rotary"

    def turned(self, name, x):
        return rotary_rolled(x) if self.rotary and name in self.turn else x

    def forward(self, x):
        heads, width = [], x.shape[-1] // self.n
        for h in range(self.n):
            cut = slice(h * width, (h + 1) * width)
            q = self.turned("q", self.query(x)[..., cut])
            k = self.turned("k", self.key(x)[..., cut])
            v = self.turned("v", self.value(x)[..., cut])
            scores = torch.einsum("bqd,bkd->bqk", q, k) / self.scale(width)
            if self.causal:
                scores = scores + torch.full(scores.shape[-2:], -math.inf).triu(1)
            heads.append(scores.softmax(-1) @ v)
        z = torch.cat(heads, -1)
        return self.out(z) if self.out_used else z


class FusedAttention(solutions.SelfAttention):
    def forward(self, x):
        shape = (*x.shape[:2], self.config.n_heads, -1)
        q, k, v = (m(x).view(shape).permute(0, 2, 1, 3) for m in (self.query, self.key, self.value))
        if self.config.positions == "rotary":
            q, k = rotary_rolled(q), rotary_rolled(k)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(z.permute(0, 2, 1, 3).reshape(x.shape))


class Viewed(solutions.SelfAttention):
    """Splits by a plain view."""

    def forward(self, x):
        b, n, d = x.shape
        shape = (b, self.config.n_heads, n, -1)
        q, k, v = (m(x).view(shape) for m in (self.query, self.key, self.value))
        if self.config.positions == "rotary":
            q, k = rotary_rolled(q), rotary_rolled(k)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(z.transpose(1, 2).reshape(b, n, d))


def attention(**changed):
    return type("Changed", (Attention,), changed)


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


def block(step):
    """A block whose forward is step(self, x)."""
    return type("Changed", (BlockByParts,), {"forward": step})


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


def decoder(step):
    return type("Changed", (DecoderByStack,), {"forward": step})


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


RIGHT = [
    ("SelfAttention", Attention),
    ("SelfAttention", FusedAttention),
    ("Block", BlockByParts),
    ("Block", block(lambda s, x: (y := x + s.attention(s.norm1(x))) + s.feed_forward(s.norm2(y)))),
    ("Decoder", DecoderByStack),
    ("Decoder", type("Sub", (solutions.Decoder,), {})),
]


@pytest.mark.parametrize(("name", "made"), RIGHT)
def test_right_answers_are_accepted(name, made, judged):
    result = judged(f"05/{name}", made, seconds=30)
    assert result.passed, result.diagnosis


# what was done -> (exercise, answer, words of the diagnosis)
WRONG = {
    "no scale": ("SelfAttention", attention(scale=lambda self, d: 1.0), ["√d_head"]),
    "√ of d_model": ("SelfAttention", attention(scale=lambda self, d: 12**0.5), ["√d_model"]),
    "no mask": ("SelfAttention", attention(causal=False), ["Nothing is hidden"]),
    "a view": ("SelfAttention", Viewed, ["mixes positions"]),
    "values turned": ("SelfAttention", attention(turn="qkv"), ["values as well"]),
    "keys not turned": ("SelfAttention", attention(turn="q"), ["Only the queries are rotated"]),
    "never turned": ("SelfAttention", attention(turn=""), ["must be rotated"]),
    "no W_O": ("SelfAttention", attention(out_used=False), ["last step is missing"]),
    "no mask, no scale": (
        "SelfAttention", attention(causal=False, scale=lambda self, d: 1.0),
        ["Two things at once", "Nothing is hidden", "√d_head"],
    ),
    "values turned, no W_O": (
        "SelfAttention", attention(turn="qkv", out_used=False),
        ["Two things at once", "values as well", "last step"],
    ),
    "another name": ("SelfAttention", Nameless, ["no weights `query.weight`", "`project.weight`"]),
    "no super": ("SelfAttention", no_super, ["AttributeError", "before Module.__init__() call"]),
    "a function": ("SelfAttention", lambda config: torch.zeros(2), ["not a module", "nn.Module"]),
    "no first sum": (
        "Block",
        block(lambda s, x: (y := s.attention(s.norm1(x))) + s.feed_forward(s.norm2(y))),
        ["result of attention replaces the stream"],
    ),
    "no second norm": (
        "Block", block(lambda s, x: (y := x + s.attention(s.norm1(x))) + s.feed_forward(y)),
        ["`norm2` is not used"],
    ),
    "parallel": (
        "Block",
        block(lambda s, x: x + s.attention(s.norm1(x)) + s.feed_forward(s.norm2(x))),
        ["*after*"],
    ),
    "post-norm": (
        "Block",
        block(lambda s, x: s.norm2((y := s.norm1(x + s.attention(x))) + s.feed_forward(y))),
        ["post-norm"],
    ),
    "relu": (
        "Block",
        block(
            lambda s, x: (y := x + s.attention(s.norm1(x))) + s.down(F.relu(s.up(s.norm2(y))))
        ),
        ["use relu"],
    ),
    "gelu without its switch": (
        "Block",
        block(
            lambda s, x: (y := x + s.attention(s.norm1(x))) + s.down(F.gelu(s.up(s.norm2(y))))
        ),
        ["config.gelu"],
    ),
    "one norm and relu": (
        "Block",
        block(
            lambda s, x: (y := x + s.attention(s.norm1(x))) + s.down(F.relu(s.up(s.norm1(y))))
        ),
        ["Two things at once", "used twice", "use relu"],
    ),
    "no positions": (
        "Decoder", decoder(lambda s, t: s.head(s.norm(s.blocks(s.embedding(t))))),
        ["add the vectors of the positions"],
    ),
    "no norm": (
        "Decoder",
        decoder(lambda s, t: s.head(s.blocks(placed(s, t)))),
        ["`self.norm` is not used"],
    ),
    "result lost": (
        "Decoder", decoder(lambda s, t: s.head(s.norm(placed(s, t)))), ["results of the blocks are lost"],
    ),
    "states": ("Decoder", decoder(lambda s, t: s.norm(s.blocks(placed(s, t)))), ["head is missing"]),
    "softmax": (
        "Decoder", decoder(lambda s, t: s.head(s.norm(s.blocks(placed(s, t)))).softmax(-1)),
        ["probabilities"],
    ),
    "no norm, no positions": (
        "Decoder", decoder(lambda s, t: s.head(s.blocks(s.embedding(t)))),
        ["Two things at once", "`self.norm` is not used", "add the vectors of the positions"],
    ),
    "a plain list": ("Decoder", PlainList, ["blocks.0.", "plain list", "nn.ModuleList"]),
    "not tied": ("Decoder", Untied, ["Tie it to the embedding"]),
}  # fmt: skip


def placed(self, tokens):
    x = self.embedding(tokens)
    return x if self.positions is None else x + self.positions.weight[: tokens.shape[1]]


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_answers_are_named(mistake, judged):
    name, made, words = WRONG[mistake]
    result = judged(f"05/{name}", made, seconds=30)
    assert not result.passed
    assert all(word in result.diagnosis for word in words), result.diagnosis


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
    shipped = tl.shipped().model
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
