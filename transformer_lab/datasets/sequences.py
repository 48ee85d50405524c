"""Small tasks on sequences whose correct attention is known: copy, reverse, sort, induction."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arguments import Seed, checked
from ..tokenizers import SPECIAL, WordTokenizer
from .batches import IGNORE, Ragged, check_counts
from .examples import Dataset, Rows
from .pairs import Pair, PairData

MOST_SYMBOLS = 1_000_000
MOST_NUMBERS = 2**28  # in one array, 2 GiB


@checked
def copy_task(
    *,
    length: int | tuple[int, int] = (3, 10),
    vocab: int = 26,
    size: int = 20_000,
    held_out: int = 1000,
    seed: Seed = 0,
) -> PairData:
    """Repeat the sequence: "c a t" → "c a t". Attention should be the diagonal.

    Args:
        length: number of symbols in a sequence, or a pair (least, most).
        vocab: number of different symbols: letters up to 26, numbers beyond.
        size, held_out: number of training examples and of held-out ones.
        seed: generates the sequences.
    """
    settings = _Settings("copy", length, vocab, size, held_out, seed)
    return _sequence_task(settings, lambda row: list(range(len(row))))


@checked
def reverse(
    *,
    length: int | tuple[int, int] = (3, 10),
    vocab: int = 26,
    size: int = 20_000,
    held_out: int = 1000,
    seed: Seed = 0,
) -> PairData:
    """Write the sequence backwards: "c a t" → "t a c". Attention should be the anti-diagonal.

    Arguments as for `copy_task`.
    """
    settings = _Settings("reverse", length, vocab, size, held_out, seed)
    return _sequence_task(settings, lambda row: list(range(len(row)))[::-1])


@checked
def sort(
    *,
    length: int | tuple[int, int] = 8,
    vocab: int = 50,
    size: int = 20_000,
    held_out: int = 1000,
    seed: Seed = 0,
) -> PairData:
    """Put different numbers in order: "17 3 42" → "3 17 42".

    A head should attend to the next larger number. Arguments as for `copy_task`; no symbol occurs
    twice in a sequence, so `vocab` must be at least the longest length.
    """
    settings = _Settings("sort", length, vocab, size, held_out, seed, distinct=True)
    return _sequence_task(settings, lambda row: sorted(range(len(row)), key=row.__getitem__))


@dataclass(frozen=True)
class _Settings:
    name: str
    length: int | tuple[int, int]
    vocab: int
    size: int
    held_out: int
    seed: int
    distinct: bool = False


def _sequence_task(settings: _Settings, order: Callable[[list[int]], list[int]]) -> PairData:
    """Pairs in which target token t is source token ``order(source)[t]``."""
    rows, symbols, pairs = _different_rows(settings), _symbols(settings.vocab), []
    for row in rows:
        words, places = [symbols[i] for i in row], order(row)
        target = " ".join([words[p] for p in places])
        pairs.append(Pair(" ".join(words), target, tuple([(p,) for p in places])))
    tokenizer = WordTokenizer(SPECIAL + symbols)
    return PairData(
        settings.name, tokenizer, pairs[settings.held_out :], pairs[: settings.held_out]
    )


def _different_rows(settings: _Settings) -> list[list[int]]:
    """``size + held_out`` different random rows of symbol numbers."""
    s = settings
    low, high = s.length if isinstance(s.length, tuple | list) else (s.length, s.length)
    check_counts(size=s.size, held_out=s.held_out, vocab=s.vocab, length=high)
    _check_room(s.size + s.held_out, vocab=s.vocab if s.distinct else 1, length=high)
    if not 1 <= low <= high:
        raise ValueError(
            f"length must be a number of at least 1, or a pair (least, most), got {s.length}"
        )
    if s.distinct and high > s.vocab:
        raise ValueError(
            f"length={high} needs {high} different symbols, but vocab={s.vocab}; raise vocab"
        )
    wanted = s.size + s.held_out
    rng = np.random.default_rng(s.seed)
    rows: dict[tuple[int, ...], None] = {}
    for _ in range(20):
        n = 2 * (wanted - len(rows)) + 16
        if s.distinct:
            values = rng.random((n, s.vocab)).argsort(axis=1)[:, :high]
        else:
            values = rng.integers(s.vocab, size=(n, high))
        lengths = rng.integers(low, high + 1, size=n).tolist()
        for row, length in zip(values.tolist(), lengths, strict=True):
            rows[tuple(row[:length])] = None
        if len(rows) >= wanted:
            return [list(row) for row in rows][:wanted]
    raise ValueError(
        f"size={s.size} and held_out={s.held_out} need {wanted} different sequences, but length="
        f"{s.length} and vocab={s.vocab} gave only {len(rows)}; request fewer or longer ones"
    )


def _check_room(rows: int, **numbers: int) -> None:
    """Refuse arrays that are larger than memory: each row draws this many random numbers."""
    for name, value in numbers.items():
        if rows * value > MOST_NUMBERS:
            raise ValueError(
                f"{name} must be at most {MOST_NUMBERS // rows:,} for {rows:,} sequences, got {value}"
            )


def _symbols(n: int) -> tuple[str, ...]:
    if n > MOST_SYMBOLS:
        raise ValueError(f"vocab must be at most {MOST_SYMBOLS:,}, got {n}")
    return tuple(string.ascii_lowercase[:n]) if n <= 26 else tuple(map(str, range(n)))


@dataclass(frozen=True, slots=True)
class Repeat:
    """A sequence in which one segment occurs twice.

    Attributes:
        tokens: token ids.
        start: where the segment first starts.
        length: length of the segment.
        lag: how many positions later it starts again.
    """

    tokens: tuple[int, ...]
    start: int
    length: int
    lag: int

    @property
    def predictable(self) -> range:
        """Positions whose next token the first occurrence predicts: the second without its end."""
        return range(self.start + self.lag, self.start + self.lag + self.length - 1)


class InductionData(Dataset[Repeat]):
    """Sequences for a decoder. Only predictable tokens are targets; the rest is −100.

    At a predictable position the head of an induction circuit attends to the token *after* the
    earlier occurrence of the current token: ``position - lag + 1``.
    """

    kinds: ClassVar[tuple[str, ...]] = ("decoder",)

    def _rows(self, examples: tuple[Repeat, ...], kind: str) -> Rows:
        tokens = np.array([example.tokens for example in examples])
        targets = np.full_like(tokens, IGNORE)
        for row, example in enumerate(examples):
            span = example.predictable
            targets[row, span.start : span.stop] = tokens[row, span.start + 1 : span.stop + 1]
        return Rows(examples, Ragged.of(tokens.tolist()), Ragged.of(targets.tolist()))

    def _edges(self, example: Repeat, kind: str) -> Iterable[tuple[int, int]]:
        return ((t, t - example.lag + 1) for t in example.predictable)


@checked
def induction(
    *,
    length: int = 65,
    vocab: int = 64,
    held_out_lags: Sequence[int] = (20, 28, 36),
    segment: tuple[int, int] = (8, 32),
    size: int = 20_000,
    held_out: int = 1000,
    seed: Seed = 0,
) -> InductionData:
    """Generate random symbols in which one segment occurs twice: predict how it continues.

    Start, length and lag of the segment are random, and symbols occur twice only through the
    repetition, so the answer is never ambiguous. The held-out sequences repeat at lags that never
    occur in training: a trick that counts positions fails there, but searching back for the symbol
    works. (At one fixed lag a single layer "solves" the task by position alone.)

    Args:
        length: length of the sequences.
        vocab: number of symbols.
        held_out_lags: lags used only for the held-out sequences.
        segment: shortest and longest segment; it is never longer than its lag, and fills at least
            half of the room that its lag leaves.
        size, held_out: number of training sequences and of held-out ones.
        seed: generates the sequences.
    """
    check_counts(size=size, held_out=held_out, length=length, vocab=vocab)
    _check_room(size, vocab=vocab, length=length)
    shortest, longest = segment
    lags = range(shortest, length - shortest + 1)
    if not 2 <= shortest <= longest or not lags:
        raise ValueError(f"segment={segment} does not fit twice into length={length}")
    if vocab < length - shortest:
        raise ValueError(
            f"vocab={vocab} is too small: length={length} needs {length - shortest} different "
            "symbols besides the repeated ones"
        )
    other = [lag for lag in lags if lag not in held_out_lags]
    outside = [lag for lag in held_out_lags if lag not in lags]
    if outside or not other or not held_out_lags:
        raise ValueError(
            f"held_out_lags must be some, but not all, of the lags {lags.start} … {lags.stop - 1}, got "
            f"{tuple(held_out_lags)}"
        )
    rng = np.random.default_rng(seed)
    train = _repeats(size, length, vocab, other, segment, rng)
    rest = _repeats(held_out, length, vocab, list(held_out_lags), segment, rng)
    return InductionData("induction", WordTokenizer(SPECIAL + _symbols(vocab)), train, rest)


def _repeats(
    n: int,
    length: int,
    vocab: int,
    lags: Sequence[int],
    segment: tuple[int, int],
    rng: np.random.Generator,
) -> list[Repeat]:
    """Sequences with one repetition each, at random positions, lengths and lags."""
    lag = rng.choice(np.array(lags), size=n)
    most = np.minimum(segment[1], np.minimum(lag, length - lag))
    # From half of what fits: many predictable positions, so that the circuit forms early.
    size = rng.integers(np.maximum(segment[0], most // 2), most + 1)
    start = rng.integers(0, length - lag - size + 1)
    # Every position has its own symbol, except that the second occurrence repeats the first.
    place = np.arange(length)
    again = (place >= (start + lag)[:, None]) & (place < (start + lag + size)[:, None])
    source = np.where(again, place - lag[:, None], place)
    # Numbering the positions that need a symbol keeps the count within the vocabulary.
    fresh = np.cumsum(~again, axis=1) - 1
    symbols = rng.random((n, vocab)).argsort(axis=1) + len(SPECIAL)
    slot = np.take_along_axis(fresh, source, axis=1)
    tokens = np.take_along_axis(symbols, slot, axis=1).tolist()
    settings = zip(tokens, start.tolist(), size.tolist(), lag.tolist(), strict=True)
    return [Repeat(tuple(row), *where) for row, *where in settings]
