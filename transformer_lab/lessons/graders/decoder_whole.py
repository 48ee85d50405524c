"""Checks of the block and of the whole decoder in lesson 05, Build it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, Unfit
from transformer_lab.lessons.graders.decoder_parts import (
    attention_weights,
    config_of,
    linear,
    norm,
    random,
)
from transformer_lab.lessons.graders.slips import Slip, built, suspects_of
from transformer_lab.lessons.solutions import lesson_05 as solutions

# -- block ----------------------------------------------------------------------------------------


def _block_weights(config: Any) -> dict[str, tuple[int, ...]]:
    inside = {f"attention.{name}": shape for name, shape in attention_weights(config).items()}
    d, bias = config.d_model, config.bias
    wanted = norm("norm1", config) | inside | norm("norm2", config)
    return wanted | linear("up", 4 * d, d, bias) | linear("down", d, 4 * d, bias)


def _use_block(made: Any, config: Any, x: Tensor) -> Tensor:
    return built(made, config, _block_weights(config), x)(x)


def _block_cases() -> list[Case]:
    return [
        Case(
            "2 texts of 5 tokens, with GPT-2's gelu", (config_of(gelu="tanh"), random(21, 2, 5, 12))
        ),
        Case("no biases, the exact gelu", (config_of(bias=False), random(22, 1, 4, 12))),
    ]


def _block_with(slips: frozenset[str]) -> type:
    class Wrong(solutions.Block):
        def forward(self, x: Tensor) -> Tensor:
            norm1 = self.norm2 if "norms swapped" in slips else self.norm1
            norm2 = self.norm1 if {"norms swapped", "one norm twice"} & slips else self.norm2
            gelu = {"none": "tanh", "tanh": "none"}[self.config.gelu]
            gelu = gelu if "the other gelu" in slips else self.config.gelu

            def wide(y: Tensor) -> Tensor:
                up = self.up(y)
                if "no gelu" in slips:
                    return self.down(up)
                return self.down(F.relu(up) if "relu" in slips else F.gelu(up, approximate=gelu))

            if "post-norm" in slips:
                x = norm1(x + self.attention(x))
                return norm2(x + wide(x))
            first = x if "no first norm" in slips else norm1(x)
            stream = self.attention(first)
            if "no first sum" not in slips:
                stream = (first if "the normed added" in slips else x) + stream
            read = x if "back to the input" in slips else stream
            second = read if "no second norm" in slips else norm2(read)
            return wide(second) if "no second sum" in slips else stream + wide(second)

    return Wrong


BLOCK = Grader(
    name="05/Block",
    cases=_block_cases,
    reference=solutions.Block,
    use=_use_block,
    noun="`forward`",
    shape_hint="the shape of `x`, unchanged",
    suspects=suspects_of(
        _block_with,
        [
            Slip(
                "order", "post-norm",
                "This is post-norm, `norm(x + f(x))`. Use pre-norm here: `x + f(norm(x))`.",
            ),
            Slip("first", "no first norm", "Attention reads the stream itself: `norm1` is not used."),
            Slip(
                "first", "the normed added",
                "You add to the *normalised* stream. The stream itself is never normalised: normalise "
                "only what attention reads.",
            ),
            Slip(
                "first sum", "no first sum",
                "The result of attention replaces the stream. Add it to `x`.",
            ),
            Slip("second", "no second norm", "The feed-forward part reads the stream itself: "
                 "`norm2` is not used."),
            Slip(
                "second", "back to the input",
                "The feed-forward part reads the block's input. It should read the stream *after* "
                "attention.",
            ),
            Slip(
                "second sum", "no second sum",
                "The result of the feed-forward part replaces the stream. Add it to the stream.",
            ),
            Slip("norms", "one norm twice", "`norm1` is used twice: each part has its own norm."),
            Slip("norms", "norms swapped", "`norm1` belongs to attention, `norm2` to feed-forward."),
            Slip("gelu", "no gelu", "There is nothing between `up` and `down`: the gelu is missing."),
            Slip("gelu", "relu", "You use relu; it should be gelu."),
            Slip(
                "gelu", "the other gelu",
                "You use the other gelu. Pass `config.gelu` on: "
                "`F.gelu(…, approximate=config.gelu)`.",
            ),
        ],
    ),
)  # fmt: skip


# -- decoder --------------------------------------------------------------------------------------


def decoder_weights(config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Decoder's weights, without the tied head."""
    wanted = {"embedding.weight": (config.vocab_size, config.d_model)}
    if config.positions == "learned":
        wanted["positions.weight"] = (config.n_ctx, config.d_model)
    for i in range(config.n_layers):
        wanted |= {f"blocks.{i}.{name}": shape for name, shape in _block_weights(config).items()}
    return wanted | norm("norm", config)


def _use_decoder(made: Any, config: Any, tokens: Tensor) -> Tensor:
    def checked(config: Any) -> Any:
        module = made(config)
        if isinstance(module, torch.nn.Module):
            head = getattr(module, "head", None)
            if not isinstance(head, torch.nn.Linear):
                raise Unfit("It has no `head`: `self.head = nn.Linear(…, bias=False)`.")
            table = getattr(module, "embedding", None)
            if getattr(table, "weight", None) is not head.weight:
                raise Unfit(
                    "The head has weights of its own. Tie it to the embedding: "
                    "`self.head.weight = self.embedding.weight`."
                )
        return module

    return built(checked, config, decoder_weights(config), torch.zeros(0).double())(tokens)


def _decoder_cases() -> list[Case]:
    tokens = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    learned = config_of(positions="learned", gelu="tanh")
    return [
        Case("2 texts of 5 tokens, learned positions", (learned, tokens)),
        Case(
            "rotary positions, 3 layers, no biases", (config_of(bias=False, n_layers=3), tokens[:1])
        ),
    ]


def _decoder_with(slips: frozenset[str]) -> type:
    class Wrong(solutions.Decoder):
        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embedding(tokens)
            if "scaled" in slips:
                x = x * self.config.d_model**0.5
            if self.config.positions == "learned" and "no positions" not in slips:
                n = tokens.shape[1]
                places = torch.arange(n) + (1 if "positions from 1" in slips else 0)
                places = tokens.clamp(max=8) if "positions of tokens" in slips else places
                x = x + self.positions(places)
            start, blocks = x, list(self.blocks)
            blocks = blocks[:1] * len(blocks) if "one block again" in slips else blocks
            blocks = blocks[:1] if "only one block" in slips else blocks
            blocks = blocks[::-1] if "backwards" in slips else blocks
            for block in blocks:
                x = block(start if "from the start" in slips else x)
            x = start if "blocks' result lost" in slips else x
            x = x if "no last norm" in slips else self.norm(x)
            if "states" in slips:
                return x
            logits = self.head(x)
            logits = logits.softmax(-1) if "softmax" in slips else logits
            return logits[:, -1:] if "last only" in slips else logits

    return Wrong


DECODER = Grader(
    name="05/Decoder",
    cases=_decoder_cases,
    reference=solutions.Decoder,
    use=_use_decoder,
    noun="`forward`",
    shape_hint="`[batch, position, vocab_size]`, logits for every position",
    suspects=suspects_of(
        _decoder_with,
        [
            Slip("norm", "no last norm", "`self.norm` is not used: it comes just before the head."),
            Slip(
                "positions", "no positions",
                "With `positions=\"learned\"`, add the vectors of the positions to the embeddings. They "
                "are missing.",
            ),
            Slip("positions", "positions from 1", "Your positions begin at 1; the first one is 0."),
            Slip(
                "positions", "positions of tokens",
                "You look up the *tokens* in the table of positions. Look up 0, 1, 2, …",
            ),
            Slip("scale", "scaled", "You multiply the embeddings by √d_model. Some models do, but "
                 "not this one."),
            Slip("blocks", "only one block", "Only the first block runs."),
            Slip("blocks", "one block again", "The first block runs again and again. Run each block "
                 "once."),
            Slip("blocks", "backwards", "The blocks run in reverse order."),
            Slip(
                "blocks", "from the start",
                "Every block reads the embeddings. Each should read the result of the block before it: "
                "`x = block(x)`.",
            ),
            Slip(
                "blocks", "blocks' result lost",
                "The results of the blocks are lost: `block(x)` alone changes nothing. Write "
                "`x = block(x)`.",
            ),
            Slip("head", "states", "These are hidden states of d_model numbers; the head is missing."),
            Slip(
                "head", "softmax",
                "You return probabilities. Return logits: the loss computes the softmax itself.",
            ),
            Slip(
                "head", "last only",
                "You return the logits of the last position only. Every position predicts what "
                "comes after it.",
            ),
        ],
    ),
)  # fmt: skip
