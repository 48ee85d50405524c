"""Checks of lesson 23, The whole model from blank: test the learner's model, train it and compare
it."""

from __future__ import annotations

import copy
import math
import random
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

import transformer_lab as tl
from transformer_lab.lessons.graders.base import Case, Grader, Unfit, mistakes_in
from transformer_lab.lessons.solutions import lesson_23 as solutions

STEPS = 150  # of the graded training
METHODS = ("encode", "decode", "forward", "loss", "fit", "generate")
PRODUCTS = ("matmul", "__matmul__", "__rmatmul__", "bmm", "einsum", "baddbmm")

MISTAKES = """
# characters
- self.characters[token] for
+ self.characters[token - 1] for
  `decode` does not undo `encode`: a text that goes through both should come back as it was.

# list
- nn.ModuleList([self.Block(d_model, n_heads) for _ in range(n_layers)])
+ [self.Block(d_model, n_heads) for _ in range(n_layers)]
  Modules in a plain list are invisible to torch: they get no gradient step. Use `nn.ModuleList`.

# mask
- .triu(1)
+ .triu(1) & False
  The causal mask is missing: if the last token changes, so do the logits of earlier positions. In
  training such a model reads the answer, and in generation there is none to read.

# attention
- x = x + self.attend(self.norm1(x))
+ x = x + 0 * self.attend(self.norm1(x))
  The logits depend only on the token at their own position. What attention computes gets lost on
  its way.

# positions
- query, key = self.rotate(query), self.rotate(key)
  Nothing tells the model where a token is. Add positions to the embeddings, or rotate queries and
  keys.

# scale
- / math.sqrt(query.shape[-1])
  The scores are not divided by the square root of the width of a head.

# residual
- x = x + self.attend(
+ x = self.attend(
  A residual connection is missing: a token's own vector is lost in attention. Add what attention
  returns to the stream.

# shift
- logits = self(tokens[:, :-1])
+ logits = self(tokens)
- tokens[:, 1:].flatten()
+ tokens.flatten()
  The targets are not shifted: your loss asks each position for the token that it reads. Ask it for
  the next one.

# backwards
- logits = self(tokens[:, :-1])
+ logits = self(tokens[:, 1:])
- tokens[:, 1:].flatten()
+ tokens[:, :-1].flatten()
  The targets are shifted the wrong way: each position should predict the token after it, not the
  one before.

# sum
- tokens[:, 1:].flatten())
+ tokens[:, 1:].flatten(), reduction="sum")
  `loss` is the sum over all tokens. Take the mean, so that it does not grow with the batch.

# twice
- F.cross_entropy(logits.flatten(0, 1)
+ F.cross_entropy(logits.softmax(-1).flatten(0, 1)
  `cross_entropy` takes logits and computes the softmax itself. Yours is computed twice.

# init
- std=0.02
+ std=0.8
  Before training the loss is far above that of guessing, ln V: the weights start too large. Try a
  standard deviation of 0.02.

# still
- optimizer.step()
+ pass
  `fit` changes no weight. Does it call `optimizer.step()`, and does the optimizer have
  `self.parameters()`?

# zero
- optimizer.zero_grad()
+ pass
  The gradients of all steps add up: call `optimizer.zero_grad()` in every step.

# low
- optimizer.param_groups[0]["lr"] = 3e-3 *
+ optimizer.param_groups[0]["lr"] = 1e-6 *
  The weights hardly move in training: the learning rate is too low.

# high
- optimizer.param_groups[0]["lr"] = 3e-3 *
+ optimizer.param_groups[0]["lr"] = 3.0 *
  Training does more harm than good: the learning rate is too high.

# last
- [0, -1]
+ [0, 0]
  `generate` writes characters that the model itself finds unlikely. Take the logits of the last
  position.

# window
- tokens[None, -self.n_ctx :]
+ tokens[None, : len(prompt) + 60]
  `generate` fails or repeats itself when the text grows longer than the context: give the model
  the last tokens only.
"""
SENTENCES = {mistake.step: mistake.sentence for mistake in mistakes_in(MISTAKES)}


@cache
def numbers_in_words() -> tuple[str, str]:
    """A training text and a held-out text with other numbers: lines such as "342 three hundred
    …"."""
    order = list(range(100, 1000))
    random.Random(0).shuffle(order)
    lines = [f"{n} {tl.datasets.spell(n, 'en')}\n" for n in order]
    return "".join(lines[200:]), "".join(lines[:200])


@cache
def baselines(text: str, held_out: str) -> tuple[float, float]:
    """Held-out losses of two baselines: counting pairs of characters, and the package's model after
    as many steps."""
    characters = sorted(set(text))
    index = {character: i for i, character in enumerate(characters)}
    counts = torch.full((len(index), len(index)), 0.1)
    for a, b in pairwise(text):
        counts[index[a], index[b]] += 1
    chances = (counts / counts.sum(1, keepdim=True)).log()
    by_pairs = -sum(float(chances[index[a], index[b]]) for a, b in pairwise(held_out))

    torch.manual_seed(0)
    ids, n_ctx = torch.tensor([index[c] for c in text]), 48
    model = tl.Transformer(
        tl.ModelConfig(vocab_size=len(index), n_layers=2, d_model=64, n_ctx=n_ctx)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        starts = torch.randint(len(ids) - n_ctx, (16,)).tolist()
        batch = torch.stack([ids[i : i + n_ctx + 1] for i in starts])
        optimizer.zero_grad()
        _next_loss(model(batch[:, :-1]), batch[:, 1:]).backward()
        optimizer.step()
    there = _rows(torch.tensor([index[c] for c in held_out]), 41)
    with torch.no_grad():
        of_package = _next_loss(model.eval()(there[:, :-1]), there[:, 1:]).item()
    return by_pairs / (len(held_out) - 1), of_package


def _next_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _rows(ids: Tensor, length: int) -> Tensor:
    return ids[: len(ids) // length * length].view(-1, length)


class _Watched(TorchFunctionMode):
    """Records the scores that enter a softmax over keys, the width of their dot products, and every
    number used as a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: list[Tensor] = []
        self.width, self.fused = 0, False
        self.factors: list[float] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = getattr(function, "__name__", "")
        tensors = [a for a in args if isinstance(a, Tensor)]
        if name in ("softmax", "scaled_dot_product_attention"):
            self._attends(name, tensors, kwargs)
        elif name in PRODUCTS and isinstance(result, Tensor) and _is_square(result):
            inside = [a for a in args if isinstance(a, list | tuple)]
            operands = tensors or [a for group in inside for a in group]
            self.width = operands[0].shape[-1]
        if any(word in name for word in ("mul", "div", "baddbmm")):
            plain = [*args, *kwargs.values()]
            self.factors += [abs(float(a)) for a in plain if isinstance(a, int | float)]
            self.factors += [abs(a.item()) for a in tensors if a.numel() == 1]
        return result

    def _attends(self, name: str, tensors: list[Tensor], kwargs: dict[str, Any]) -> None:
        if name == "softmax":
            self.scores += [t.detach() for t in tensors[:1] if _is_square(t)]
            return
        self.fused = True
        query, key = (tensors + [kwargs[k] for k in ("query", "key") if k in kwargs])[:2]
        mask = kwargs.get("attn_mask", tensors[3] if len(tensors) > 3 else None)
        bias = 0.0 if mask is None or mask.dtype == torch.bool else mask
        self.scores.append((query @ key.transpose(-2, -1) + bias).detach())


def _is_square(scores: Tensor) -> bool:
    return scores.dim() >= 2 and scores.shape[-1] == scores.shape[-2] > 1


def _wrong(step: str, more: str = "") -> Unfit:
    return Unfit(f"{SENTENCES[step]} {more}".strip())


def _made(written: Any, text: str) -> nn.Module:
    """Create the learner's model; check that it has every method and that torch sees all its
    modules."""
    model = written(text)
    if not isinstance(model, nn.Module):
        raise Unfit(
            f"It made a {type(model).__name__}, not a module: write `class MyTransformer(nn.Module)`, "
            "with `super().__init__()` as the first line of `__init__`."
        )
    for name in METHODS:
        if not callable(getattr(model, name, None)):
            raise Unfit(f"It has no method `{name}`.")
    if any(
        isinstance(value, list | tuple) and any(isinstance(part, nn.Module) for part in value)
        for module in model.modules()
        for value in vars(module).values()
    ):
        raise _wrong("list")
    return model


def _check_text(model: Any, held_out: str) -> Tensor:
    """Check that `decode` undoes `encode`; return the tokens of the held-out text."""
    ids = model.encode(held_out)
    if not isinstance(ids, Tensor) or ids.dtype != torch.long or ids.dim() != 1:
        raise Unfit(
            "`encode` should return a tensor of whole numbers [position] (`torch.long`), one for "
            "each character."
        )
    if model.decode(ids) != held_out:
        raise _wrong("characters")
    return ids


def _check_logits(model: Any, batch: Tensor) -> None:
    logits = model(batch)
    if not isinstance(logits, Tensor) or logits.dim() != 3 or logits.shape[:2] != batch.shape:
        got = f"{list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise Unfit(
            f"`forward` of tokens {list(batch.shape)} should return logits [batch, position, "
            f"vocabulary], one row for every token; it returned {got}."
        )
    if logits.shape[2] <= int(batch.max()):
        raise Unfit(
            f"`forward` gives {logits.shape[2]} logits, but `encode` has larger token numbers: one "
            "logit is needed for each character."
        )
    if not bool(logits.isfinite().all()):
        raise Unfit(
            "Before training, some logits are NaN or infinite. Does the mask hide every key of the "
            "first token? It may attend to itself."
        )
    ones = logits.sum(-1)
    if bool((logits >= 0).all()) and torch.allclose(ones, torch.ones_like(ones), atol=1e-4):
        raise Unfit(
            "`forward` returns probabilities. Return logits: the loss computes the softmax."
        )


def _check_attention(model: Any, batch: Tensor) -> None:
    """Check which positions affect which by changing single tokens, and how the scores are
    computed."""
    usual = model(batch)
    last, first = batch.clone(), batch.clone()
    last[:, -1], first[:, 0] = batch[:, 0], batch[:, -1]
    changed = (model(last) - usual)[:, :-1].abs().max()
    if changed > 1e-4 * usual.abs().max():
        raise _wrong("mask")
    moved = (batch[:, 0] != batch[:, -1]).nonzero()[0, 0]
    if (model(first) - usual)[moved, -1].abs().max() <= 1e-7 * usual.abs().max():
        raise _wrong("attention")
    same = batch[:1, :1].expand_as(batch[:1])
    with _Watched() as watched:
        alike = model(same)[0]
    if watched.scores and _constant(alike) and all(map(_are_one_number, watched.scores)):
        raise _wrong("positions")
    if watched.scores and watched.width and not watched.fused:
        wanted = [watched.width**power for power in (0.5, -0.5, 0.25, -0.25)]
        if not any(math.isclose(f, w, rel_tol=1e-3) for f in watched.factors for w in wanted):
            raise _wrong("scale")
    if _own_share(model, batch) < 2:
        raise _wrong("residual")


def _constant(logits: Tensor) -> bool:
    return bool((logits - logits[:1]).abs().max() <= 1e-4 * (1 + logits.abs().max()))


def _are_one_number(scores: Tensor) -> bool:
    seen = scores[..., torch.ones(scores.shape[-2:], dtype=torch.bool).tril()]  # not hidden
    apart = seen.amax(-1) - seen.amin(-1)
    return bool((apart <= 1e-4 * (1 + seen.abs().amax(-1))).all())


def _own_share(model: Any, batch: Tensor) -> float:
    """Effect of the last token on its own logits, relative to that of a token in the middle."""
    usual, middle = model(batch)[:, -1], batch.shape[1] // 2
    effects = []
    for place in (batch.shape[1] - 1, middle):
        other = batch.clone()
        other[:, place] = batch[:, place].roll(1)
        effects.append((model(other)[:, -1] - usual).norm(dim=-1).mean())
    return float(effects[0] / effects[1])


def _check_loss(model: Any, batch: Tensor) -> None:
    """Compare `loss` with the right value and with those of common mistakes."""
    yours = model.loss(batch)
    if not isinstance(yours, Tensor) or yours.numel() != 1:
        raise Unfit("`loss` should return one number as a tensor, the mean over all predictions.")
    logits = model(batch)
    right = _next_loss(logits[:, :-1], batch[:, 1:])
    if math.isclose(yours.item(), right.item(), rel_tol=1e-3):
        return
    if not bool(yours.isfinite()):
        raise Unfit("`loss` is NaN or infinite before any training.")
    spoiled = {
        "shift": [_next_loss(logits, batch), _next_loss(logits[:, :-1], batch[:, :-1])],
        "backwards": [
            _next_loss(out, batch[:, :-1]) for out in (logits[:, 1:], model(batch[:, 1:]))
        ],
        "sum": [right * batch[:, 1:].numel(), right * batch.shape[1], right * (batch.shape[1] - 1)],
        "twice": [_next_loss(logits[:, :-1].softmax(-1), batch[:, 1:])],
    }
    for step, values in spoiled.items():
        if any(math.isclose(yours.item(), value.item(), rel_tol=1e-3) for value in values):
            raise _wrong(step)
    raise Unfit(
        f"On a batch of {list(batch.shape)} tokens `loss` is {yours.item():.3f}; the mean loss of "
        f"predicting each token from those before it is {right.item():.3f}."
    )


class _Steps:
    """Counts the training steps in which a weight's gradient was added to that of the step
    before."""

    def __init__(self, weight: Tensor) -> None:
        self.added, self._new, self._fresh = 0, True, weight
        self._hooks = [
            weight.register_hook(self._arrives),
            weight.register_post_accumulate_grad_hook(self._is_added),
            register_optimizer_step_pre_hook(self._steps),
        ]

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _arrives(self, gradient: Tensor) -> None:
        self._fresh = gradient.detach().clone()

    def _is_added(self, weight: Tensor) -> None:
        self.added += self._new and not torch.equal(weight.grad, self._fresh)  # type: ignore[arg-type]
        self._new = False  # further batches of one step may add theirs

    def _steps(self, *_: object) -> None:
        self._new = True


def _train(model: Any, held_out: Tensor, text: tuple[str, str]) -> None:
    """Run `fit` and check the held-out loss that it reached."""
    names = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    before = _measured(model, held_out)
    model.train()
    with _Steps(next(p for p in model.parameters() if p.requires_grad)) as watched:
        model.fit(STEPS)
    model.eval()
    after = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    still = [name for name, old in names.items() if torch.equal(old, after[name])]
    if len(still) == len(names):
        raise _wrong("still")
    if still:
        raise Unfit(f"`fit` never changes `{still[0]}`. Does `forward` use it?")
    if watched.added > STEPS / 2:
        raise _wrong("zero")
    reached = _measured(model, held_out)
    pairs, package = baselines(*text)
    if reached <= pairs - (pairs - package) / 4:
        return
    message = (
        f"After {STEPS} steps the held-out loss is {reached:.2f}; counting pairs of characters gives "
        f"{pairs:.2f}, and this package's model {package:.2f}."
    )
    if not reached < before - 0.3 and not math.isfinite(reached):
        raise _wrong("high", message)
    size = sum(float(old.norm()) ** 2 for old in names.values()) ** 0.5
    way = sum(float((after[name] - old).norm()) ** 2 for name, old in names.items()) ** 0.5
    if way < 0.05 * size:
        raise _wrong("low", message)
    if reached > before - 0.3:
        raise _wrong("high", message)
    raise Unfit(
        f"{message} It should come closer. Look at the learning rate (AdamW: 0.001 to 0.01), at the "
        "size of the batch, and at the residual connections."
    )


@torch.no_grad()
def _measured(model: Any, ids: Tensor) -> float:
    model.eval()
    rows = _rows(ids, 41)
    return _next_loss(model(rows[:, :-1]), rows[:, 1:]).item()


@torch.no_grad()
def _check_generation(model: Any, held_out: str) -> None:
    prompt = held_out[:4]
    written = model.generate(prompt, 40)
    if not isinstance(written, str) or not written.startswith(prompt):
        raise Unfit("`generate` should return a text that begins with the prompt.")
    if len(written) != len(prompt) + 40:
        raise Unfit(
            f"`generate` was asked for 40 more characters and wrote {len(written) - len(prompt)}."
        )
    ids = model.encode(written)[None, :40]
    if _next_loss(model(ids[:, :-1])[:, 3:], ids[:, 4:]) > 1.8:
        raise _wrong("last")
    try:
        longer = model.generate(prompt, 200)
    except (RuntimeError, IndexError, ValueError):
        raise _wrong("window") from None
    ids = model.encode(longer)[-30:][None]
    if len(longer) != len(prompt) + 200 or _next_loss(model(ids[:, :-1]), ids[:, 1:]) > 2.2:
        raise _wrong("window")


def _use(written: Any, text: str, held_out: str) -> Tensor:
    """Test a model before and after training; return True, or raise `Unfit` with the first
    problem."""
    if written is solutions.MyTransformer:
        return _of_reference(text, held_out)
    return _tried(written, text, held_out)


@cache
def _of_reference(text: str, held_out: str) -> Tensor:
    return _tried(solutions.MyTransformer, text, held_out)


def _tried(written: Any, text: str, held_out: str) -> Tensor:
    torch.manual_seed(0)
    model = _made(written, text).eval()
    ids = _check_text(model, held_out)
    batch = _rows(ids, 24)[:16]
    # With changed weights: a head that is initialised to zero would hide every mistake.
    stirred = copy.deepcopy(model)
    with torch.no_grad():
        for weight in stirred.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        _check_logits(model, batch)
        _check_attention(stirred, batch)
        _check_loss(stirred, batch)
        guess = math.log(model(batch).shape[-1])
        if _measured(model, ids) > 1.35 * guess:
            raise _wrong("init", f"It is {_measured(model, ids):.1f}, and ln V is {guess:.1f}.")
    _train(model, ids, (text, held_out))
    _check_generation(model, held_out)
    return torch.tensor(True)


WHOLE = Grader(
    reference=solutions.MyTransformer,
    cases=lambda: [Case("numbers in words", numbers_in_words())],
    use=_use,
    noun="class",
    shape_hint="one verdict",
    mistakes=MISTAKES,
    seconds=120.0,
)
