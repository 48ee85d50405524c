"""What every dataset of separate examples shares: splits, batches, and the ground truth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..arguments import Seed, checked, shown
from ..tokenizers import Tokenizer
from .batches import IGNORE, Batch, ByLength, Ragged, Shuffle, Stream, check_counts

Example = TypeVar("Example")

FAR_LONGER = 20  # times the median: its whole batch is padded to such a text


@dataclass(frozen=True, eq=False)
class Rows:
    """Examples as a model of one kind reads them, encoded once and packed."""

    examples: tuple[Any, ...]
    tokens: Ragged
    targets: Ragged | np.ndarray
    target_in: Ragged | None = None

    @property
    def lengths(self) -> list[np.ndarray]:
        """Number of tokens in every row, [row] for each side that a model reads."""
        sides = [self.tokens, self.target_in]
        return [side.lengths for side in sides if side is not None]

    def batch(self, rows: np.ndarray, pad_id: int) -> Batch:
        """A batch of some rows, padded to the longest of them."""
        tokens, mask = _padded(self.tokens, rows, pad_id)
        target_in = target_mask = None
        if self.target_in is not None:
            target_in, target_mask = _padded(self.target_in, rows, pad_id)
        if isinstance(self.targets, Ragged):
            targets, _ = self.targets.pad(rows, IGNORE)
        else:
            targets = torch.from_numpy(self.targets[rows])
        examples = tuple(self.examples[i] for i in rows.tolist())
        return Batch(tokens, targets, target_in, mask, target_mask, examples)


def _padded(packed: Ragged, rows: np.ndarray, value: int) -> tuple[Tensor, Tensor | None]:
    # No mask if there is no padding: attention without one is faster.
    values, real = packed.pad(rows, value)
    return values, None if bool(real.all()) else real


class Dataset(Generic[Example]):
    """Training examples and held-out examples; no example is in both.

    Attributes:
        name: for messages.
        tokenizer: the tokenizer of both sources and targets.
        train, held_out: tuples of examples, with their ground truth.
        kinds: the kinds of model that can be trained on it (``ModelConfig.kind``); `batches`
            prepares the first one by default.
    """

    kinds: ClassVar[tuple[str, ...]]

    def __init__(
        self, name: str, tokenizer: Tokenizer, train: Sequence[Example], held_out: Sequence[Example]
    ):
        self.name = name
        self.tokenizer = tokenizer
        self.train = tuple(train)
        self.held_out = tuple(held_out)
        self._cache: dict[tuple[str, str], Rows] = {}

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.tokenizer.vocab_size

    @checked
    def batches(
        self,
        batch_size: int,
        *,
        kind: str | None = None,
        seed: Seed = 0,
        split: str = "train",
        by_length: bool = False,
    ) -> Stream:
        """Endless shuffled batches; every example comes once per epoch.

        Args:
            batch_size: examples per batch.
            kind: of model; by default the first of `kinds`.
            seed: of the shuffling.
            split: "train" or "held_out".
            by_length: put examples of about the same length into a batch: if lengths differ, there
                is far less padding. Batches are then less random.
        """
        rows, pad_id = self._split_rows(split, self._kind(kind)), self.tokenizer.pad_id or 0
        self._warn_of_one_far_longer(rows, batch_size)
        if by_length:
            shuffle = ByLength(rows.lengths, batch_size, seed)
        else:
            shuffle = Shuffle(len(rows.examples), batch_size, seed)
        return Stream(lambda step: rows.batch(shuffle.rows(step), pad_id), seed)

    @checked
    def epoch(
        self, batch_size: int, *, kind: str | None = None, split: str = "held_out"
    ) -> list[Batch]:
        """Every example of a split once, in order."""
        rows, pad_id = self._split_rows(split, self._kind(kind)), self.tokenizer.pad_id or 0
        check_counts(batch_size=batch_size)
        every = np.arange(len(rows.examples))
        return [rows.batch(every[i : i + batch_size], pad_id) for i in every[::batch_size]]

    def collate(self, examples: Sequence[Example], *, kind: str | None = None) -> Batch:
        """One batch of the given examples, for instance to trace a chosen one."""
        if not examples:
            raise ValueError("examples is empty; give at least one")
        rows = self._rows(tuple(examples), self._kind(kind))
        return rows.batch(np.arange(len(rows.examples)), self.tokenizer.pad_id or 0)

    def truth(self, batch: Batch, *, kind: str | None = None) -> Tensor:
        """The keys that each query would attend to if attention followed the rule of the data.

        Returns:
            bool [batch, query, key]; the queries are the decoder's for an encoder-decoder. A row
            without any True has no right answer (padding, ``</s>``, words without a source).
        """
        kind = self._kind(kind)
        queries = batch.tokens if batch.target_in is None else batch.target_in
        truth = torch.zeros(len(batch), queries.shape[1], batch.tokens.shape[1], dtype=torch.bool)
        edges = [(i, q, k) for i, e in enumerate(batch.examples) for q, k in self._edges(e, kind)]
        if edges:
            truth[tuple(torch.tensor(edges).T)] = True
        return truth

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, train={len(self.train):,}, "
            f"held_out={len(self.held_out):,}, vocab_size={self.vocab_size})"
        )

    def _kind(self, kind: str | None) -> str:
        if kind is None:
            return self.kinds[0]
        if kind not in self.kinds:
            raise ValueError(
                f"kind={shown(kind)} does not suit {self.name}; use {_either(self.kinds)}"
            )
        return kind

    def _split_rows(self, split: str, kind: str) -> Rows:
        if split not in ("train", "held_out"):
            raise ValueError(f"split must be one of 'train', 'held_out', got {shown(split)}")
        examples = self.train if split == "train" else self.held_out
        if not examples:
            raise ValueError(
                f"the {split} part of {self.name} is empty; make it with a larger size"
            )
        if (split, kind) not in self._cache:
            self._cache[split, kind] = self._rows(examples, kind)
        return self._cache[split, kind]

    def _warn_of_one_far_longer(self, rows: Rows, batch_size: int) -> None:
        for lengths in rows.lengths:
            longest, usual = int(lengths.max()), int(np.median(lengths))
            if batch_size > 1 and longest > FAR_LONGER * max(1, usual):
                text = rows.examples[int(lengths.argmax())]
                warnings.warn(
                    f"{self.name}: one text has {longest:,} tokens, but half of the texts have {usual} "
                    f"or fewer, and all {batch_size} rows of its batch are padded to its length. Drop "
                    f"or shorten it: {shown(text)}",
                    stacklevel=4,
                )

    def _rows(self, examples: tuple[Example, ...], kind: str) -> Rows:
        raise NotImplementedError

    def _edges(self, example: Example, kind: str) -> Iterable[tuple[int, int]]:
        """Pairs (query, key) of positions in the example's own row."""
        raise NotImplementedError


def hold_out(
    examples: Sequence[Example],
    held_out: int | float,
    *,
    seed: int,
    key: Callable[[Example], Hashable],
    name: str,
) -> tuple[list[Example], list[Example]]:
    """Split examples so that no `key` is on both sides; the order within each side is kept.

    Args:
        examples: what to split.
        held_out: how many, or a fraction between 0 and 1.
        seed: chooses which.
        key: of an example; no value occurs in both parts.
        name: of the data, for the message.

    Raises:
        ValueError: one of the sides would be empty.
    """
    if held_out >= 1 and held_out != int(held_out):
        raise ValueError(f"held_out must be a whole number, or a fraction below 1, got {held_out}")
    keys = [key(example) for example in examples]
    unique = list(dict.fromkeys(keys))
    n = round(held_out * len(unique)) if 0 < held_out < 1 else int(held_out)
    n = max(n, 1) if 0 < held_out < 1 else n
    if not 1 <= n < len(unique):
        raise ValueError(
            f"{name}: held_out={held_out} of {len(unique)} different examples leaves nothing to "
            f"{'train on' if n >= len(unique) else 'hold out'}; try held_out=0.1 or more data"
        )
    chosen = {unique[i] for i in np.random.default_rng(seed).permutation(len(unique))[:n].tolist()}
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example, k in zip(examples, keys, strict=True):
        sides[k in chosen].append(example)
    return sides


def _either(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)
