"""Checks of training the decoder in lesson 05, Build it, and of loading weights into it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transformer_lab.datasets.batches import Batch
from transformer_lab.lessons.graders.base import Case, Grader, Unfit
from transformer_lab.lessons.graders.decoder_parts import config_of
from transformer_lab.lessons.graders.decoder_whole import decoder_weights
from transformer_lab.lessons.graders.slips import Slip, numbers, suspects_of
from transformer_lab.lessons.solutions import lesson_05 as solutions

# -- the numerical gradient -----------------------------------------------------------------------


def _bowl(weight: Tensor) -> Tensor:
    return (weight**3).sum() + weight.prod() - 2 * weight.flatten()[0]


def _wave(weight: Tensor) -> Tensor:
    return (weight.cumsum(-1) * 0.7).sin().sum() + weight.exp().sum()


def _use_gradient(written: Any, loss_of: Callable, weight: Tensor, eps: float) -> Any:
    weight = weight.double().clone()
    before = weight.clone()
    found = written(lambda: loss_of(weight), weight, eps)
    if not torch.allclose(weight, before, atol=1e-9):
        raise Unfit(
            "The weight is not what it was: after each try, put back the old number (keep a copy of "
            "it, with `.item()` or `.clone()`; a view changes with the weight)."
        )
    return found


def _gradient_cases() -> list[Case]:
    some = torch.randn(2, 3, generator=torch.Generator().manual_seed(31))
    return [
        Case("a weight of 2 × 3 numbers, eps = 0.1", (_bowl, some, 0.1)),
        Case("a weight of 4 numbers, eps = 0.05", (_wave, some.flatten()[:4], 0.05)),
    ]


def _gradient_with(slips: frozenset[str]):
    def wrong(loss: Callable[[], Tensor], weight: Tensor, eps: float = 1e-3) -> Tensor:
        eps = 1e-3 if "own eps" in slips else eps
        gradient, size = torch.zeros_like(weight), weight.numel()
        numbers, slopes = weight.view(-1), gradient.view(-1)
        start = loss()
        kept = weight.clone()
        for place in range(1 if "only the first" in slips else size):
            here: Any = slice(None) if "all at once" in slips else place
            before = numbers[here].clone()
            numbers[here] = before + eps
            above = loss()
            numbers[here] = before - eps
            below = loss()
            numbers[here] = before
            if "one-sided" in slips:
                below = start
            if "backwards-sided" in slips:
                above = start
            by = 2 * eps
            if {"one-sided", "backwards-sided"} & slips:
                by = eps
            if "not halved" in slips:
                by /= 2
            if "not divided" in slips:
                by = 1.0
            slopes[place] = (below - above if "sign" in slips else above - below) / by
        weight.copy_(kept)
        return gradient

    return wrong


GRADIENT = Grader(
    name="05/numerical_gradient",
    cases=_gradient_cases,
    reference=solutions.numerical_gradient,
    use=_use_gradient,
    shape_hint="the shape of `weight`: a slope for each of its numbers",
    suspects=suspects_of(
        _gradient_with,
        [
            Slip(
                "sides", "one-sided",
                "You compare with the loss at the weight itself. Step to both sides: with one side the "
                "error is about eps, with both about eps².",
            ),
            Slip(
                "sides", "backwards-sided",
                "You step only down. Step to both sides, up and down.",
            ),
            Slip("by", "not halved", "The two tries are 2 · eps apart: divide by that."),
            Slip("by", "not divided", "This is the difference of two losses. For a slope, "
                 "divide it by the distance between the two tries, 2 · eps."),
            Slip("by", "own eps", "You step by a number of your own. Use `eps`."),
            Slip("sign", "sign", "The sign is wrong: the loss above minus the loss below."),
            Slip("place", "all at once", "You move all numbers at once. Move one, and put it back."),
            Slip("place", "only the first", "Only the first number has a slope. Go through all numbers."),
        ],
    ),
)  # fmt: skip


# -- the training loop ----------------------------------------------------------------------------


class _Small(nn.Module):
    """A model of pairs of tokens that trains in no time."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 5), nn.Linear(5, 7)
        with torch.no_grad():
            for name, weight in self.double().named_parameters():
                weight.copy_(numbers(name, weight.shape))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(tokens)))


def _batches() -> Iterator[Batch]:
    """Endless batches, like those of the course."""
    draw = torch.Generator().manual_seed(41)
    while True:
        ids = torch.randint(7, (3, 6), generator=draw)
        yield Batch(ids[:, :-1], ids[:, 1:])


def _use_loop(written: Any, steps: int, lr: float, warmup: int, clip: float) -> Any:
    return written(_Small(), _batches(), steps, lr, warmup, clip)


def _loop_cases() -> list[Case]:
    # The first optimizer step makes torch load a lot more, which can take as long as the check allows.
    _use_loop(solutions.train_loop, 2, 0.1, 1, 1.0)
    return [
        Case("9 steps, 3 of them warm-up, clip = 0.1", (9, 0.3, 3, 0.1)),
        Case("6 steps, 1 of them warm-up, clip = 0.2", (6, 0.1, 1, 0.2)),
    ]


def _loop_with(slips: frozenset[str]):
    def wrong(model: Any, batches: Any, steps: int, lr: float, warmup: int, clip: float):
        kind = next((k for k in ("SGD", "Adam", "RMSprop") if k in slips), "AdamW")
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=lr)
        rows, first = [], None
        reduction = "sum" if "summed" in slips else "mean"

        def loss_of(batch: Any) -> Tensor:
            logits, targets = model(batch.tokens), batch.targets
            if "shifted again" in slips:
                logits, targets = logits[:, :-1], targets[:, 1:]
            targets = batch.tokens if "tokens as targets" in slips else targets
            if "softmax twice" in slips:
                logits = logits.softmax(-1)
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)

        for step, batch in zip(range(steps), batches, strict=False):
            first = batch if first is None else first
            batch = first if "one batch" in slips else batch
            done = (step - warmup) / (steps - warmup)
            rise = (step if "rises from 0" in slips else step + 1) / warmup
            fall = (1 + math.cos(math.pi * done)) / 2
            fall = 1 - done if "falls in a line" in slips else fall
            if "falls over all steps" in slips:
                fall = (1 + math.cos(math.pi * step / steps)) / 2
            fall = 1.0 if "does not fall" in slips else fall
            factor = rise if step < warmup and "no warm-up" not in slips else fall
            if "no warm-up" in slips and step < warmup:
                factor = 1.0
            if "no schedule" not in slips:
                optimizer.param_groups[0]["lr"] = lr * factor
            loss = loss_of(batch)
            if "gradients pile up" not in slips:
                optimizer.zero_grad()
            loss.backward()
            if "cut number by number" in slips:
                length = nn.utils.get_total_norm([p.grad for p in model.parameters()])
                nn.utils.clip_grad_value_(model.parameters(), clip)
            else:
                limit = math.inf if "not clipped" in slips else clip
                length = nn.utils.clip_grad_norm_(model.parameters(), limit)
            if "length after the cut" in slips:
                length = length.clamp(max=clip)
            if "no step" not in slips:
                optimizer.step()
            if "loss after the step" in slips:
                with torch.no_grad():
                    loss = loss_of(batch)
            rows.append([loss.item(), length.item()])
        result = torch.tensor(rows)
        return result[:, 0] if "losses alone" in slips else result

    return wrong


LOOP = Grader(
    name="05/train_loop",
    cases=_loop_cases,
    reference=solutions.train_loop,
    use=_use_loop,
    shape_hint="`[steps, 2]`: for each step its loss, and the length of its gradient",
    suspects=suspects_of(
        _loop_with,
        [
            Slip(
                "order", "gradients pile up",
                "The gradients are never set to 0, so each step still contains those of all steps "
                "before it: call `optimizer.zero_grad()`.",
            ),
            Slip(
                "order", "no step",
                "The model does not learn: `optimizer.step()` is missing, or comes where the gradients "
                "are 0 (between `zero_grad` and `backward`).",
            ),
            Slip("clip", "not clipped", "The gradient is not clipped before the step."),
            Slip(
                "clip", "cut number by number",
                "You clip each number of the gradient by itself, which changes its direction. Scale "
                "the whole gradient to length `clip`: `nn.utils.clip_grad_norm_`.",
            ),
            Slip(
                "clip", "length after the cut",
                "Return the length of the gradient *before* clipping, which is what "
                "`clip_grad_norm_` returns.",
            ),
            Slip("rate", "no schedule", "The learning rate is the same at every step."),
            Slip("rate", "no warm-up", "There is no warm-up: the learning rate of step 0 is lr / warmup."),
            Slip(
                "rate", "rises from 0",
                "Your first step has learning rate 0, so it is wasted. Step 0 has lr / warmup, and the "
                "last step of the warm-up has lr.",
            ),
            Slip("rate", "does not fall", "After the warm-up the learning rate does not fall."),
            Slip("rate", "falls in a line", "The learning rate falls in a straight line; it should "
                 "fall along half a cosine."),
            Slip(
                "rate", "falls over all steps",
                "Your cosine begins at step 0. It should begin where the warm-up ends: "
                "(step − warmup) / (steps − warmup).",
            ),
            Slip("optimizer", "SGD", "You step with SGD; it should be AdamW."),
            Slip("optimizer", "Adam", "You step with Adam; it should be AdamW, which lets the "
                 "weights decay a little."),
            Slip("optimizer", "RMSprop", "You step with RMSprop; it should be AdamW."),
            Slip(
                "loss", "shifted again",
                "You shift once more: `batch.targets` already are the next tokens.",
            ),
            Slip(
                "loss", "tokens as targets",
                "Your targets are the tokens that the model has just read. Use `batch.targets`.",
            ),
            Slip("loss", "summed", "The loss is summed. Take the mean over all predictions."),
            Slip("loss", "softmax twice", "`F.cross_entropy` expects logits: it computes the "
                 "softmax itself."),
            Slip("batch", "one batch", "Every step reads the same batch. Take the next one."),
            Slip(
                "result", "loss after the step",
                "You return the loss after the step. Return the loss that the step was based on.",
            ),
            Slip("result", "losses alone", "These are only the losses. Return a row of two numbers for "
                 "each step: loss, length of the gradient."),
        ],
    ),
)  # fmt: skip


# -- GPT-2's weights ------------------------------------------------------------------------------


def _theirs(config: Any) -> dict[str, Tensor]:
    """Random weights in the layout of GPT-2's files: names, shapes, and Conv1D's (in, out)."""
    d = config.d_model
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (config.vocab_size, d), "wpe.weight": (config.n_ctx, d),
    }  # fmt: skip
    for i in range(config.n_layers):
        for name, size in (
            ("attn.c_attn", (d, 3 * d)), ("attn.c_proj", (d, d)), ("mlp.c_fc", (d, 4 * d)),
            ("mlp.c_proj", (4 * d, d)),
        ):  # fmt: skip
            shapes |= {f"h.{i}.{name}.weight": size, f"h.{i}.{name}.bias": size[1:]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (d,), f"h.{i}.{name}.bias": (d,)}
    shapes |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    made = {f"transformer.{name}": numbers(name, shape) for name, shape in shapes.items()}
    return made | {"lm_head.weight": made["transformer.wte.weight"]}


def _use_from_gpt2(written: Any, n_layers: int, tokens: Tensor) -> Any:
    config = config_of(positions="learned", gelu="tanh", n_layers=n_layers)
    found = written(_theirs(config), n_layers)
    if not isinstance(found, dict):
        return found if found is None else _refused(found)
    wanted = decoder_weights(config) | {"head.weight": (config.vocab_size, config.d_model)}
    for name, shape in wanted.items():
        if name not in found:
            raise Unfit(f"`{name}` is missing.")
        weight = found[name]
        if not isinstance(weight, Tensor):
            raise Unfit(f"`{name}` is a {type(weight).__name__}, not a tensor.")
        if tuple(weight.shape) != shape:
            turned = tuple(weight.shape) == shape[::-1]
            hint = " GPT-2 stores (in, out), `nn.Linear` needs (out, in)." if turned else ""
            raise Unfit(
                f"`{name}` has shape {list(weight.shape)}; it should be {list(shape)}.{hint}"
            )
    for name in found:
        if name not in wanted:
            raise Unfit(f"`{name}` is not a weight of the Decoder.")
    model = solutions.Decoder(config).double().eval()
    model.load_state_dict({name: found[name].double() for name in wanted})
    return model(tokens)


def _refused(found: Any) -> Any:
    raise Unfit(f"It returned a {type(found).__name__}; return a dict, name → tensor.")


def _gpt2_cases() -> list[Case]:
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9]])
    return [Case("a GPT-2 of 2 layers", (2, tokens)), Case("a GPT-2 of 3 layers", (3, tokens))]


def _from_gpt2_with(slips: frozenset[str]):
    def wrong(theirs: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
        ours = solutions.from_gpt2(theirs, n_layers)
        heads = 3
        for i in range(n_layers):
            here, there = f"blocks.{i}.", f"transformer.h.{i}."

            def swap(a: str, b: str, here: str = here) -> None:
                for end in ("weight", "bias"):
                    one, two = f"{here}{a}.{end}", f"{here}{b}.{end}"
                    ours[one], ours[two] = ours[two], ours[one]

            if "norms swapped" in slips:
                swap("norm1", "norm2")
            if "query and key swapped" in slips:
                swap("attention.query", "attention.key")
            if "key and value swapped" in slips:
                swap("attention.key", "attention.value")
            if "query and value swapped" in slips:
                swap("attention.query", "attention.value")
            if "head by head" in slips:
                for end in ("weight", "bias"):
                    whole = theirs[f"{there}attn.c_attn.{end}"]
                    whole = whole.t() if end == "weight" else whole
                    cut = whole.unflatten(0, (heads, 3, -1))
                    for k, name in enumerate(("query", "key", "value")):
                        ours[f"{here}attention.{name}.{end}"] = cut[:, k].flatten(0, 1)
            if "W_O not turned" in slips:
                ours[f"{here}attention.out.weight"] = ours[f"{here}attention.out.weight"].t()
            for name in ("query", "key", "value"):
                if "projections not turned" in slips:
                    ours[f"{here}attention.{name}.weight"] = ours[
                        f"{here}attention.{name}.weight"
                    ].t()
                if "projections without bias" in slips:
                    ours[f"{here}attention.{name}.bias"] = 0 * ours[f"{here}attention.{name}.bias"]
        if "one layer for all" in slips:
            ours |= {
                f"blocks.{i}.{name.split('.', 2)[2]}": weight
                for name, weight in list(ours.items())
                if name.startswith("blocks.0.")
                for i in range(n_layers)
            }
        return ours

    return wrong


FROM_GPT2 = Grader(
    name="05/from_gpt2",
    cases=_gpt2_cases,
    reference=solutions.from_gpt2,
    use=_use_from_gpt2,
    shape_hint="a dict, name → tensor",
    suspects=suspects_of(
        _from_gpt2_with,
        [
            Slip(
                "out", "W_O not turned",
                "`attention.out.weight` is not transposed. It is square, so there is no error: "
                "GPT-2 stores (in, out), `nn.Linear` needs (out, in).",
            ),
            Slip(
                "projections", "projections not turned",
                "The weights of query, key and value are not transposed: GPT-2 stores (in, out). "
                "Transpose `c_attn.weight` before you cut it into three.",
            ),
            Slip("order", "query and key swapped", "Query and key have changed places: `c_attn` holds "
                 "query, key, value, in this order."),
            Slip("order", "key and value swapped", "Key and value have changed places: `c_attn` "
                 "holds query, key, value, in this order."),
            Slip("order", "query and value swapped", "Query and value have changed places: `c_attn` "
                 "holds query, key, value, in this order."),
            Slip(
                "order", "head by head",
                "You cut `c_attn` head by head (GPT-NeoX stores it like that). GPT-2's first third "
                "holds the queries of *all* heads.",
            ),
            Slip("bias", "projections without bias", "The biases of query, key and value are 0; use the "
                 "thirds of `c_attn.bias`."),
            Slip("norms", "norms swapped", "`ln_1` is `norm1`, `ln_2` is `norm2`."),
            Slip("layers", "one layer for all", "Every block has the weights of layer 0."),
        ],
    ),
)  # fmt: skip
