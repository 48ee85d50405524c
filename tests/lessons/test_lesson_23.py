"""The check of lesson 23 accepts right models, however written, and names mistakes."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from transformer_lab.lessons.graders.lesson_23 import MISTAKES, SENTENCES, numbers_in_words
from transformer_lab.lessons.solutions.lesson_23 import MyTransformer


class Shared(nn.Module):
    """Shared by the models below: characters, loss, training loop, sampling."""

    n_ctx, lr = 40, 3e-3

    def __init__(self, text):
        super().__init__()
        self.names = dict(enumerate(dict.fromkeys(text)))
        self.ids = {name: i for i, name in self.names.items()}
        self.text = text
        self.build(len(self.names))

    def encode(self, text):
        return torch.LongTensor([self.ids[c] for c in text])

    def decode(self, tokens):
        return "".join(self.names[int(i)] for i in tokens)

    def loss(self, tokens):
        chances = self(tokens)[:, :-1].log_softmax(-1)
        return -chances.gather(-1, tokens[:, 1:, None]).mean()

    def fit(self, steps):
        ids = self.encode(self.text)
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        for _ in range(steps):
            for weight in self.parameters():
                weight.grad = None
            rows = [ids[i : i + self.n_ctx] for i in torch.randint(len(ids) - self.n_ctx, (12,))]
            self.loss(torch.stack(rows)).backward()
            optimizer.step()

    def generate(self, prompt, n):
        for _ in range(n):
            with torch.no_grad():
                logits = self(self.encode(prompt[-self.n_ctx :])[None])[0, -1]
            prompt += self.names[int(logits.argmax())]
        return prompt


class PostNormWithFusedAttention(Shared):
    """Learned positions, a tied head, PyTorch's fused kernel, norms after each part."""

    def build(self, vocabulary):
        self.table, self.places = nn.Embedding(vocabulary, 48), nn.Embedding(self.n_ctx, 48)
        for table in (self.table, self.places):
            nn.init.normal_(table.weight, std=0.1)
        self.layers = nn.ModuleDict(
            {
                f"{part}{i}": made
                for i in range(2)
                for part, made in (
                    ("qkv", nn.Linear(48, 144)),
                    ("out", nn.Linear(48, 48)),
                    ("a", nn.LayerNorm(48)),
                    ("mlp", nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 48))),
                    ("b", nn.LayerNorm(48)),
                )
            }
        )

    def forward(self, tokens):
        part = self.layers
        x = self.table(tokens) + self.places.weight[: tokens.shape[1]]
        for i in range(2):
            q, k, v = part[f"qkv{i}"](x).view(*x.shape[:2], 3, 3, 16).permute(2, 0, 3, 1, 4)
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = part[f"a{i}"](x + part[f"out{i}"](z.transpose(1, 2).flatten(2)))
            x = part[f"b{i}"](x + part[f"mlp{i}"](x))
        return F.linear(x, self.table.weight)


class AlibiAndZeroStart(Shared):
    """ALiBi, scaled queries, einsum, RMSNorm by hand, zero-initialised outputs and head."""

    lr = 1e-2

    def build(self, vocabulary):
        d = 32
        self.table = nn.Parameter(torch.randn(vocabulary, d) * 0.3)
        of = lambda *shape: nn.Parameter(torch.randn(2, *shape) * d**-0.5)  # noqa: E731
        self.q, self.k, self.v, self.up = of(2, d, 16), of(2, d, 16), of(2, d, 16), of(d, 64)
        zeros = lambda *shape: nn.Parameter(torch.zeros(*shape))  # noqa: E731
        self.o, self.down, self.head = zeros(2, 2, 16, d), zeros(2, 64, d), zeros(d, vocabulary)

    def forward(self, tokens):
        norm = lambda x: x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()  # noqa: E731
        x, n = self.table[tokens], tokens.shape[1]
        behind = torch.arange(n)[:, None] - torch.arange(n)
        bias = -behind * torch.tensor([0.5, 0.1])[:, None, None]
        for i in range(2):
            q, k, v = (
                torch.einsum("bnd,hde->bhne", norm(x), w[i]) for w in (self.q, self.k, self.v)
            )
            scores = torch.einsum("bhqe,bhke->bhqk", q * 16**-0.5, k) + bias
            weights = scores.masked_fill(behind < 0, -1e9).softmax(-1)
            x = x + torch.einsum("bhqk,bhke,hed->bqd", weights, v, self.o[i])
            x = x + (norm(x) @ self.up[i]).relu() ** 2 @ self.down[i]
        return norm(x) @ self.head


class OfThePackage(Shared):
    """The package's own model, which the check accepts too."""

    def build(self, vocabulary):
        self.model = tl.Transformer(
            tl.ModelConfig(vocab_size=vocabulary, n_layers=1, d_model=64, n_ctx=64)
        )

    def forward(self, tokens):
        return self.model(tokens)


@pytest.mark.parametrize("made", [PostNormWithFusedAttention, AlibiAndZeroStart, OfThePackage])
def test_right_models_are_accepted(made, judged):
    result = judged("23/MyTransformer", made, seconds=120)
    assert result.passed, result.diagnosis


def spoiled(**methods):
    return type("MyTransformer", (MyTransformer,), methods)


def no_positions(self, tokens):
    x = self.table(tokens)
    return PostNormWithFusedAttention.forward(self, tokens) + 0 * x.sum()


class WithoutPositions(PostNormWithFusedAttention):
    def build(self, vocabulary):
        super().build(vocabulary)
        nn.init.zeros_(self.places.weight)
        self.places.weight = nn.Parameter(self.places.weight[:1].expand(self.n_ctx, 48).clone())

    def forward(self, tokens):
        kept, self.places = self.places, nn.Embedding(self.n_ctx, 48)
        nn.init.zeros_(self.places.weight)
        try:
            return super().forward(tokens) + 0 * kept.weight.sum()
        finally:
            self.places = kept


class Unmasked(AlibiAndZeroStart):
    def forward(self, tokens):
        return super().forward(tokens) + super().forward(tokens.roll(-1, 1))


WRONG = {
    "no module": (lambda text: text, "made a str, not a module"),
    "no method": (spoiled(generate=None), "has no method `generate`"),
    "a list of ids": (spoiled(encode=lambda self, text: [1, 2]), "`encode` should return a tensor"),
    "the last logits only": (
        spoiled(forward=lambda self, tokens: MyTransformer.forward(self, tokens)[:, -1]),
        "one row for every token",
    ),
    "probabilities": (
        spoiled(forward=lambda self, tokens: MyTransformer.forward(self, tokens).softmax(-1)),
        "returns probabilities",
    ),
    "NaN": (
        spoiled(forward=lambda self, tokens: MyTransformer.forward(self, tokens) * math.nan),
        "NaN or infinite",
    ),
    "no positions": (WithoutPositions, SENTENCES["positions"]),
    "sees the next token": (Unmasked, SENTENCES["mask"]),
    "bits": (
        spoiled(loss=lambda self, tokens: MyTransformer.loss(self, tokens) / math.log(2)),
        "the mean loss of predicting each token",
    ),
    "an error": (spoiled(loss=lambda self, tokens: tokens @ tokens), "RuntimeError"),
    "no text": (spoiled(fit=lambda self, steps: None), SENTENCES["still"]),
}


@pytest.mark.badinput
@pytest.mark.parametrize("what", WRONG)
def test_wrong_models_are_named(what, judged):
    made, said = WRONG[what]
    result = judged("23/MyTransformer", made, seconds=60)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_a_stub_is_empty_and_an_endless_training_ends(judged):
    stub = spoiled(__init__=lambda self, text: (_ for _ in ()).throw(NotImplementedError))
    assert judged("23/MyTransformer", stub).status == "empty"

    def forever(self, steps):
        while True:
            pass

    result = judged("23/MyTransformer", spoiled(fit=forever), seconds=3)
    assert "did not finish within 3 seconds" in result.diagnosis


def test_the_held_out_numbers_are_not_in_the_text():
    text, held_out = numbers_in_words()
    there = {line.split()[0] for line in text.splitlines()}
    assert len(there) == 700
    assert not there & {line.split()[0] for line in held_out.splitlines()}


def test_the_solution_uses_nothing_of_the_package():
    assert "tl." not in inspect.getsource(MyTransformer)
    assert MISTAKES.count("\n# ") == len(SENTENCES) == 18
