"""Prompts as token ids, in batches of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adapters.network import Network
from ...text_model import TextModel
from ...tracing.running import in_vocabulary
from .prompts import Prompt

ON_CPU, ON_GPU = 8, 32  # most prompts in one pass, by default
COPIES = 4  # of a pass's attention patterns, with graph and gradients


@dataclass(frozen=True, eq=False)
class Ready:
    """A prompt as token ids [position], and its tokens as ids; `index` is its number among all
    prompts.
    """

    index: int
    clean: Tensor
    corrupted: Tensor | None
    answer: int | None
    wrong: int | None
    target: Tensor | None
    mask: int | None  # position of a masked model's mask token

    @property
    def shape(self) -> tuple[int | None, ...]:
        """What prompts must have in common to share a batch."""
        lengths = (None if x is None else len(x) for x in (self.clean, self.corrupted, self.target))
        return (*lengths, self.mask, self.answer is None, self.wrong is None)


def named(prompt: Prompt, index: int) -> str:
    """A prompt's name in messages."""
    return f"prompt {index}" if prompt.line is None else f"line {prompt.line}"


def ready(model: Any, network: Network, prompts: Sequence[Prompt]) -> list[Ready]:
    """Return all prompts as ids, checked against the model before anything is computed.

    Raises:
        ValueError: for one that it cannot read, or an answer that is not one token, naming which.
    """
    found = []
    for index, prompt in enumerate(prompts):
        try:
            found.append(_ready(model, network, prompt, index))
        except ValueError as error:
            raise ValueError(f"{named(prompt, index)}: {error}") from error
    return found


def in_batches(prompts: Sequence[Ready], most: int) -> list[list[Ready]]:
    """Group prompts of one shape, at most `most` together, in the order of their first ones."""
    alike: dict[Any, list[Ready]] = {}
    for one in prompts:
        alike.setdefault(one.shape, []).append(one)
    return [same[i : i + most] for same in alike.values() for i in range(0, len(same), most)]


def most_together(network: Network, prompts: Sequence[Ready], budget_mib: float) -> int:
    """How many of the longest prompts a pass may hold at once."""
    n = max(len(x) for one in prompts for x in (one.clean, one.corrupted) if x is not None)
    heads = sum(h or 0 for kind in network.kinds for h in network.heads(kind))
    bytes_each = 4 * COPIES * n * (heads * n + network.numbers_per_token * len(network.blocks()))
    fits = int(budget_mib * 2**20 / bytes_each)
    return max(1, min(ON_CPU if network.device.type == "cpu" else ON_GPU, fits))


def stacked(batch: Sequence[Ready], name: str) -> Tensor | None:
    """Stack the same part of every prompt, [prompt, …]; None if they have none."""
    parts = [getattr(one, name) for one in batch]
    if parts[0] is None:
        return None
    return torch.stack(parts) if isinstance(parts[0], Tensor) else torch.tensor(parts)


def _ready(model: Any, network: Network, prompt: Prompt, index: int) -> Ready:
    clean, corrupted = (
        None if text is None else _read(model, network, text)
        for text in (prompt.clean, prompt.corrupted)
    )
    assert clean is not None
    tokens = [
        None if t is None else _token(model, network, t) for t in (prompt.answer, prompt.wrong)
    ]
    target = None
    if network.kind == "encoder-decoder":
        if not isinstance(model, TextModel):
            raise ValueError(
                "to study an encoder-decoder, wrap it in a TextModel, which can produce its output"
            )
        target = model.target_ids(clean, prompt.target)
    elif prompt.target is not None:
        raise ValueError(f"target={prompt.target!r} is for an encoder-decoder; leave it out")
    mask = getattr(getattr(model, "tokenizer", None), "mask_id", None)
    at = clean.tolist().index(mask) if network.kind == "encoder" and mask in clean else None
    return Ready(index, clean, corrupted, tokens[0], tokens[1], target, at)


def _read(model: Any, network: Network, text: str | tuple[int, ...]) -> Tensor:
    if isinstance(text, str):
        if not isinstance(model, TextModel):
            raise ValueError("a text needs a TextModel; give one, or token ids instead")
        return model.encode(text)
    ids = torch.tensor(text)
    in_vocabulary(network, ids[None], None)
    if network.n_ctx and len(ids) > network.n_ctx:
        raise ValueError(f"it has {len(ids)} tokens but the model reads at most {network.n_ctx}")
    return ids


def _token(model: Any, network: Network, token: str | int) -> int:
    if isinstance(model, TextModel):
        return model.token_id(token)
    if isinstance(token, str):
        raise ValueError(f"token {token!r} needs a TextModel; give its id")
    in_vocabulary(network, torch.tensor([[token]]), None)
    return token
