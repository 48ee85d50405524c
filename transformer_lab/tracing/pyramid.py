"""A head's attention pattern on a long text as a pyramid of maxima and means: exact, never held
whole.

Rows are computed block by block and pooled at once. Memory grows with the cells of the finest
level that is kept, plus two numbers a row; finer tiles are recomputed on access, from the queries
and keys of their own rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .weights import Weights, weights_of

SIDE = 1024  # cells of the finest level that is kept, at most, along each side
AT_ONCE = 2**21  # weights that are computed at once: 8 MiB

Span = tuple[int, int]  # start, end, as in a slice


class Pyramid:
    """One head's attention pattern at every zoom. A cell of level l holds the maximum and the mean
    of 2ˡ × 2ˡ weights (fewer at the right and at the bottom); level 0 is the pattern itself.

    Args:
        call: the inputs of attention (`Trace.call`).
        hidden: keys that are left out; the rest of each row is scaled up to the row's sum.
        norms: [key], factors for the weights; never below 0.

    Attributes:
        n_query, n_key: of the pattern.
        base: the finest level that is kept; finer ones are computed on access.
        last: the coarsest level, one cell.
        nothing: [query], the fraction of each row that goes to no key.
    """

    def __init__(
        self,
        call: Any,
        head: int,
        batch: int = 0,
        side: int = SIDE,
        *,
        hidden: Sequence[int] = (),
        norms: Tensor | None = None,
    ):
        self._weights: Weights = weights_of(call, head, batch, hidden, norms)
        self.n_query, self.n_key = call.shape[2:]
        longest = max(self.n_query, self.n_key, 1)
        self.base = max(0, (-(-longest // side) - 1).bit_length())
        self.last = max(self.base, (longest - 1).bit_length())
        self._most: dict[int, Tensor] = {}
        self._sums: dict[int, Tensor] = {}
        self._build()
        self.nothing = self._weights.nothing()

    def shape(self, level: int) -> tuple[int, int]:
        """(rows, columns) of cells."""
        return -(-self.n_query >> level), -(-self.n_key >> level)

    def tile(self, level: int, rows: Span, columns: Span) -> tuple[Tensor, Tensor]:
        """(maxima, means) of some cells of a level, each [row, column].

        Raises:
            ValueError: for a level or cells that do not exist.
        """
        if not 0 <= level <= self.last:
            raise ValueError(f"level={level} is outside 0 … {self.last}")
        for name, (start, end), count in zip(
            ("rows", "columns"), (rows, columns), self.shape(level), strict=True
        ):
            if not 0 <= start < end <= count:
                raise ValueError(
                    f"{name}=({start}, {end}) is outside the {count} {name} of level {level}"
                )
        if level >= self.base:
            most, sums = self._most[level][slice(*rows)], self._sums[level][slice(*rows)]
            most, sums = most[:, slice(*columns)], sums[:, slice(*columns)]
        else:
            most, sums = self._computed(level, rows, columns)
        of_rows, of_columns = (
            self._counts(level, span, n)
            for span, n in ((rows, self.n_query), (columns, self.n_key))
        )
        return most.clone(), sums / (of_rows[:, None] * of_columns)

    def rows(self, queries: Sequence[int]) -> Tensor:
        """Weights of some queries on every key, [len(queries), key]."""
        return self._weights.part(torch.as_tensor(queries), (0, self.n_key))

    def column(self, key: int) -> Tensor:
        """Weights of every query on one key, [query]."""
        parts = [self._weights.part(rows, (key, key + 1))[:, 0] for rows in self._row_blocks()]
        return torch.cat(parts)

    def peak(self, level: int, row: int, column: int) -> tuple[int, int, float]:
        """(query, key, weight) of the largest weight in a cell."""
        if level > self.base:
            size = 1 << (level - self.base)
            below = self._most[self.base][row * size : (row + 1) * size]
            below = below[:, column * size : (column + 1) * size]
            at = int(below.argmax())
            row = row * size + at // below.shape[1]
            column = column * size + at % below.shape[1]
            level = self.base
        rows, columns = self._span(level, row, self.n_query), self._span(level, column, self.n_key)
        part = self._weights.part(rows, columns)
        at = int(part.argmax())
        query, key = divmod(at, part.shape[1])
        return rows[0] + query, columns[0] + key, float(part[query, key])

    def strongest(
        self, count: int, queries: Span | None = None, keys: Span | None = None
    ) -> list[tuple[int, int, float]]:
        """The largest weights, largest first: (query, key, weight) each; none that is 0.

        Computes only the cells whose maximum is large enough to contain one.
        """
        queries, keys = queries or (0, self.n_query), keys or (0, self.n_key)
        size = 1 << self.base
        top, left = queries[0] // size, keys[0] // size
        bounds = self._most[self.base][top : -(-queries[1] // size), left : -(-keys[1] // size)]
        values, order = bounds.flatten().sort(descending=True)
        found: list[tuple[int, int, float]] = []
        for bound, at in zip(values.tolist(), order.tolist(), strict=True):
            if bound <= 0 or (len(found) >= count and found[count - 1][2] >= bound):
                break
            row, column = divmod(at, bounds.shape[1])
            rows = _within(self._span(self.base, top + row, self.n_query), queries)
            columns = _within(self._span(self.base, left + column, self.n_key), keys)
            part = self._weights.part(rows, columns)
            best = part.flatten().topk(min(count, part.numel()))
            for weight, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                query, key = divmod(place, part.shape[1])
                if weight > 0:
                    found.append((rows[0] + query, columns[0] + key, weight))
            found.sort(key=lambda one: -one[2])
            del found[count:]
        return found

    def sums(self, queries: Sequence[Span], keys: Sequence[Span]) -> Tensor:
        """Summed weights of each span of queries on each span of keys, [len(queries), len(keys)].
        Spans of one side must not overlap; positions in none are left out."""
        of_query, of_key = (
            _numbers(spans, n, self._weights.device)
            for spans, n in ((queries, self.n_query), (keys, self.n_key))
        )
        total = torch.zeros(len(queries) + 1, len(keys) + 1, device=self._weights.device)
        first, last = min(a for a, _ in queries), max(b for _, b in queries)
        for rows in self._row_blocks():
            if rows[1] <= first or rows[0] >= last:
                continue
            weights = self._weights.columns(rows)  # [key, query]
            by_key = weights.new_zeros(len(keys) + 1, weights.shape[1])
            by_key.index_add_(0, of_key[: len(weights)], weights)
            total.index_add_(0, of_query[slice(*rows)], by_key.T.contiguous())
        return total[:-1, :-1]

    def nbytes(self) -> int:
        """Memory that is kept, in bytes."""
        kept = [*self._most.values(), *self._sums.values(), self.nothing, *self._weights.kept()]
        return sum(x.numel() * x.element_size() for x in kept)

    # -- inside -----------------------------------------------------------------------------------

    def _row_blocks(self) -> Iterator[Span]:
        size = 1 << self.base
        step = max(1, AT_ONCE // max(1, self.n_key) // size) * size
        for start in range(0, self.n_query, step):
            yield start, min(start + step, self.n_query)

    def _build(self) -> None:
        size, (rows, columns) = 1 << self.base, self.shape(self.base)
        most, sums = (torch.zeros(rows, columns, device=self._weights.device) for _ in range(2))
        for block in self._row_blocks():
            # [cell, query] each: keys are pooled while scores are turned into weights
            found = self._weights.pooled(block, size)
            at = block[0] // size
            for whole, pool, some in zip((most, sums), ("amax", "sum"), found, strict=True):
                some = _pooled_rows(some.T.contiguous(), size, pool)
                whole[at : at + len(some), : some.shape[1]] = some
        for level in range(self.base, self.last + 1):
            self._most[level], self._sums[level] = most, sums
            most, sums = _pooled(most, 2, "amax"), _pooled(sums, 2, "sum")

    def _computed(self, level: int, rows: Span, columns: Span) -> tuple[Tensor, Tensor]:
        """(maxima, sums) of cells that are finer than the levels kept."""
        size = 1 << level
        keys = (columns[0] * size, min(columns[1] * size, self.n_key))
        step = max(1, AT_ONCE // max(1, keys[1] - keys[0]) // size)
        parts: list[tuple[Tensor, Tensor]] = []
        for start in range(rows[0], rows[1], step):
            end = min(start + step, rows[1])
            part = self._weights.part((start * size, min(end * size, self.n_query)), keys)
            parts.append((_pooled(part, size, "amax"), _pooled(part, size, "sum")))
        return torch.cat([most for most, _ in parts]), torch.cat([sums for _, sums in parts])

    def _span(self, level: int, cell: int, count: int) -> Span:
        return cell << level, min((cell + 1) << level, count)

    def _counts(self, level: int, cells: Span, count: int) -> Tensor:
        """How many tokens each cell covers, along one side."""
        edges = torch.arange(cells[0], cells[1] + 1, device=self._weights.device) << level
        return edges.clamp(max=count).diff().float()


def _pooled(x: Tensor, size: int, how: str) -> Tensor:
    """Pool cells of size × size. Weights are never below 0, so 0 can serve as padding."""
    # Rows first: while the matrix is large, neighbours in memory stay neighbours.
    return _pooled_rows(_pooled_rows(x, size, how).T.contiguous(), size, how).T.contiguous()


def _pooled_rows(x: Tensor, size: int, how: str) -> Tensor:
    x = F.pad(x, (0, 0, 0, -len(x) % size)) if len(x) % size else x
    return getattr(x.unflatten(0, (len(x) // size, size)), how)(1)


def _within(span: Span, other: Span) -> Span:
    return max(span[0], other[0]), min(span[1], other[1])


def _numbers(spans: Sequence[Span], count: int, device: Any) -> Tensor:
    """Index of the span that contains each position, [count]; len(spans) if none does."""
    found = torch.full((count,), len(spans), dtype=torch.long, device=device)
    for number, span in enumerate(spans):
        found[slice(*span)] = number
    return found
