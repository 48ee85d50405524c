"""Batches, and streams of them that are a pure function of (seed, step)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import Seed, check, checked
from ..tokenizers import Tokenizer

MOST = 10_000_000  # examples, symbols or rows
IGNORE = -100  # the label that torch's cross entropy ignores


@dataclass(frozen=True, eq=False)
class Batch:
    """The inputs and targets of one training step.

    Attributes:
        tokens: int64 [batch, position]; the source, for an encoder-decoder.
        targets: what to predict, −100 where nothing is predicted. Token ids [batch, position] (of
            the decoder, for an encoder-decoder); class labels [batch]; or the first and last
            position of an answer [batch, 2].
        target_in: int64 [batch, target position], the decoder's input: ``<s>`` and the target.
            None unless the model is an encoder-decoder.
        mask: bool [batch, position], True for a real token, False for padding; None if there is
            no padding.
        target_mask: the same for `target_in`.
        examples: the examples in the rows, including their ground truth.
    """

    tokens: Tensor
    targets: Tensor
    target_in: Tensor | None = None
    mask: Tensor | None = None
    target_mask: Tensor | None = None
    examples: tuple[Any, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on another device."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def __len__(self) -> int:
        return len(self.tokens)


class Stream:
    """Endless batches, of which ``batch(step)`` depends only on the seed and the step.

    So training resumes exactly from any step, and several processes see the same batches.
    """

    def __init__(self, make: Callable[[int], Batch], seed: int):
        self._make = make
        self.seed = seed

    @checked
    def batch(self, step: int) -> Batch:
        """The batch of one step, counted from 0."""
        if step < 0:
            raise ValueError(f"step must be 0 or more, got {step}; the first batch is step 0")
        return self._make(step)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.batch, itertools.count())

    @checked
    def masked(self, tokenizer: Tokenizer, *, rate: float = 0.15) -> Stream:
        """The stream for masked language modelling: `mask_tokens` on every batch."""
        return Stream(
            lambda step: mask_tokens(
                self.batch(step), tokenizer, rate=rate, seed=(self.seed, step, 1)
            ),
            self.seed,
        )


@checked
def mask_tokens(
    batch: Batch, tokenizer: Tokenizer, *, rate: float = 0.15, seed: Seed | Sequence[Seed] = 0
) -> Batch:
    """Mask tokens for masked language modelling.

    Each real token that is not special is chosen with probability `rate`. Of those chosen, 80%
    become ``<mask>``, 10% become a random ordinary token, and 10% stay. Targets are the original
    tokens at chosen positions and −100 elsewhere. If no token of the batch happens to be chosen,
    one is picked, so that there is a loss.
    Source: Devlin et al. 2019, section 3.1.

    Raises:
        ValueError: if `rate` is outside (0, 1], the tokenizer has no mask token, or no token of the
            batch can be masked.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate must be in (0, 1], got {rate}; BERT uses 0.15")
    if tokenizer.mask_id is None:
        raise ValueError(f"{tokenizer!r} has no mask token; use one whose mask_id is an int")
    special = _special_ids(tokenizer)
    ordinary = np.setdiff1d(np.arange(tokenizer.vocab_size), special)
    tokens = batch.tokens.cpu().numpy()
    eligible = ~np.isin(tokens, special)
    if batch.mask is not None:
        eligible &= batch.mask.cpu().numpy()
    if not eligible.any() or not ordinary.size:
        raise ValueError(
            "the batch has only special tokens, none of which can be masked; give it some text"
        )
    rng = np.random.default_rng(seed)
    chosen = eligible & (rng.random(tokens.shape) < rate)
    if not chosen.any():
        chosen.flat[rng.choice(np.flatnonzero(eligible))] = True
    fate = rng.random(tokens.shape)
    shown = np.where(chosen & (fate < 0.8), tokenizer.mask_id, tokens)
    swapped = rng.choice(ordinary, size=tokens.shape)
    shown = np.where(chosen & (fate >= 0.8) & (fate < 0.9), swapped, shown)
    return replace(
        batch,
        tokens=torch.from_numpy(shown).to(batch.tokens.device),
        targets=torch.from_numpy(np.where(chosen, tokens, IGNORE)).to(batch.tokens.device),
    )


def _special_ids(tokenizer: Tokenizer) -> list[int]:
    names = ("pad_id", "bos_id", "eos_id", "unk_id", "mask_id")
    return [i for i in (getattr(tokenizer, name) for name in names) if i is not None]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of unequal length, end to end in one array: row i is ``flat[starts[i]:starts[i+1]]``.

    In NumPy, because torch's threads cost more than the work on arrays of this size.
    """

    flat: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """Pack lists of ints."""
        rows = list(rows)
        starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        flat = np.fromiter(itertools.chain.from_iterable(rows), np.int64, count=int(starts[-1]))
        return cls(flat, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Length of each row: [row]."""
        return np.diff(self.starts)

    def pad(self, rows: np.ndarray, value: int) -> tuple[Tensor, Tensor]:
        """Stack some rows, padded with `value`: [row, longest], and which entries are real."""
        start, end = self.starts[rows], self.starts[rows + 1]
        length = end - start
        real = np.arange(length.max()) < length[:, None]
        padded = np.full(real.shape, value)
        # Both sides go over the real entries row by row, so that they match one to one.
        padded[real] = self.flat[
            np.repeat(start - np.cumsum(length) + length, length) + np.arange(length.sum())
        ]
        return torch.from_numpy(padded), torch.from_numpy(real)


class Shuffle:
    """Row numbers in which every row comes once per epoch, in a new order each epoch.

    ``rows(step)`` is a pure function of (n, batch_size, seed, step); a batch may span the end of
    an epoch. The orders of the last two epochs are kept.
    """

    def __init__(self, n: int, batch_size: int, seed: int):
        check_counts(batch_size=batch_size)
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self._orders: dict[int, np.ndarray] = {}

    def rows(self, step: int) -> np.ndarray:
        """Row numbers [batch] of one step."""
        place = step * self.batch_size + np.arange(self.batch_size)
        epoch, within = place // self.n, place % self.n
        rows = np.empty(self.batch_size, np.int64)
        for e in range(int(epoch[0]), int(epoch[-1]) + 1):
            here = epoch == e
            rows[here] = self._order(e)[within[here]]
        return rows

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            kept = {e: o for e, o in self._orders.items() if e == epoch - 1}
            rng = np.random.default_rng((self.seed, epoch))
            self._orders = {**kept, epoch: self._new_order(epoch, rng)}
        return self._orders[epoch]

    def _new_order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.n)


class ByLength(Shuffle):
    """As `Shuffle`, but the rows of a batch have about the same length, for little padding.

    An epoch's rows are shuffled and cut into pools of 256 batches; each pool is sorted by length
    and cut into batches, and the batches of the epoch are shuffled. The batch that spans two epochs
    is not sorted.

    Args:
        lengths: of every row, one array [row] for each side (source, target). Rows are sorted by
            the last side, and ties by the one before.
    """

    pool = 256  # batches; a larger pool leaves less padding, and less to chance

    def __init__(self, lengths: Sequence[np.ndarray], batch_size: int, seed: int):
        super().__init__(len(lengths[0]), batch_size, seed)
        self.lengths = tuple(lengths)

    def _new_order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        order = super()._new_order(epoch, rng)
        first = -epoch * self.n % self.batch_size  # these complete a batch of the previous epoch
        n_whole = max(0, self.n - first) // self.batch_size
        whole = slice(first, first + n_whole * self.batch_size)
        step = self.pool * self.batch_size
        pools = [order[whole][i : i + step] for i in range(0, n_whole * self.batch_size, step)]
        pools = [pool[np.lexsort([side[pool] for side in self.lengths])] for pool in pools]
        if pools:
            batches = np.concatenate(pools).reshape(n_whole, self.batch_size)
            order[whole] = batches[rng.permutation(n_whole)].ravel()
        return order


def check_counts(**counts: int | None) -> None:
    """Check that counts are whole numbers from 1 to `MOST`; an error names the count."""
    for name, value in counts.items():
        if value is None:
            continue
        check(name, value, int)
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
        if value > MOST:
            raise ValueError(f"{name} must be at most {MOST:,}, got {value}")
