"""Texts given as exact tokens: their words, and whether these would be split into the same
tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ...text_model import TextModel


def read_ids(model: TextModel, ids: Any) -> tuple[int, ...]:
    """Return the tokens of the predicted side, checked.

    Raises:
        ValueError: for none, for too many, and for values that are not token ids.
    """
    tokens = tuple(model.token_id(i) if type(i) is int else _no_id(i) for i in ids)
    if not tokens:
        raise ValueError("ids is empty; give at least one token")
    if model.n_ctx and len(tokens) > model.n_ctx:
        raise ValueError(
            f"that would be {len(tokens)} tokens but {model.name} reads at most {model.n_ctx}; "
            "begin with a shorter text"
        )
    return tokens


def _no_id(value: Any) -> int:
    raise ValueError(f"ids holds {value!r}; give token ids, which are whole numbers")


def words_of(
    model: TextModel, ids: Sequence[int], old: str, old_ids: Sequence[int]
) -> tuple[str, bool]:
    """Words for tokens, and whether these words are split into exactly these tokens.

    Args:
        old, old_ids: earlier words and tokens, which these may continue.
    """
    both, none = model.kind == "encoder-decoder", torch.zeros(0, dtype=torch.long)
    wordings = list(dict.fromkeys(w for w in _wordings(model, ids, old, old_ids) if w))
    for words in wordings:
        try:
            again = model.target_ids(none, words) if both else model.encode(words)
        except ValueError:
            continue
        if again.tolist() == list(ids):
            return words, True
    return (wordings or [old])[0], False


def _wordings(
    model: TextModel, ids: Sequence[int], old: str, old_ids: Sequence[int]
) -> Iterator[str]:
    tokenizer = model.target_tokenizer
    start = 1 if model.kind == "encoder-decoder" else 0
    if model.kind == "encoder":
        yield from _filled(model, ids, old, old_ids)
        yield from _with_masks(model, ids)
        return
    before, now = tokenizer.decode(old_ids[start:]), tokenizer.decode(ids[start:])
    if now.startswith(before):  # the typed text, and what is new
        yield old + now[len(before) :]
        yield f"{old} {now[len(before) :].strip()}"
    yield now
    yield old


def _filled(
    model: TextModel, ids: Sequence[int], old: str, old_ids: Sequence[int]
) -> Iterator[str]:
    """Yield the old text with one of its masks replaced by a word."""
    tokenizer, mask_id = model.tokenizer, model.tokenizer.mask_id
    places = [i for i, token in enumerate(old_ids) if token == mask_id]
    if mask_id is None or len(ids) != len(old_ids):
        return
    name = tokenizer.tokens([mask_id])[0]
    pieces = old.split(name)
    for nth, place in enumerate(places):
        if ids[place] != mask_id and len(pieces) > nth + 1:
            word = tokenizer.decode([ids[place]])
            first, last = name.join(pieces[: nth + 1]), name.join(pieces[nth + 1 :])
            yield first + word.strip() + last
            yield first + word + last


def _with_masks(model: TextModel, ids: Sequence[int]) -> Iterator[str]:
    """Yield the tokens as text, with the mask's name at each mask token."""
    tokenizer, mask_id = model.tokenizer, model.tokenizer.mask_id
    pieces: list[list[int]] = [[]]
    for token in ids:
        if token == mask_id:
            pieces.append([])
        else:
            pieces[-1].append(token)
    name = "" if mask_id is None else tokenizer.tokens([mask_id])[0]
    words = [tokenizer.decode(piece) for piece in pieces]
    yield f" {name} ".join(words).strip()
    yield name.join(words)
