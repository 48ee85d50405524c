"""The edges of a decoder: what writes into the stream, what reads it, and the circuits they form.

Nodes have the field's names: "input" (the embeddings), "a1.h2" (head 2 of layer 1), "m0" (the MLP
of layer 0), "logits". A head has three inputs: "a1.h2<q>", "a1.h2<k>" and "a1.h2<v>". An edge goes
from a writer to a reader: "a1.h2->a2.h0<k>".
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...arguments import shown
from ...edits.kinds import EditError

INPUTS = ("q", "k", "v")
ARROW = "->"
TRIES = 50  # draws for one random circuit


@dataclass(frozen=True)
class EdgeGraph:
    """All edges of a model. A circuit is a mask of them, bool [reader, writer].

    Attributes:
        heads: the number of heads of each layer.
        mlps: whether its layers have MLPs.
        parallel: whether an MLP reads its layer's input, without what the layer's heads wrote.
    """

    heads: tuple[int, ...]
    mlps: bool = True
    parallel: bool = False

    @cached_property
    def writers(self) -> list[str]:
        """Names in the order in which they write."""
        found = ["input"]
        for layer, n in enumerate(self.heads):
            found += [f"a{layer}.h{head}" for head in range(n)]
            found += [f"m{layer}"] * self.mlps
        return found

    @cached_property
    def readers(self) -> list[str]:
        """Names in the order in which they read; for the heads of a layer, every q, then every k,
        every v.
        """
        found = []
        for layer, n in enumerate(self.heads):
            found += [f"a{layer}.h{head}<{what}>" for what in INPUTS for head in range(n)]
            found += [f"m{layer}"] * self.mlps
        return [*found, "logits"]

    @cached_property
    def every(self) -> Tensor:
        """All edges, as a mask."""
        found = torch.zeros(len(self.readers), len(self.writers), dtype=torch.bool)
        for layer in range(len(self.heads)):
            found[self.reading(layer), : self.first_writer(layer)] = True
            if self.mlps:
                heads = 0 if self.parallel else self.heads[layer]
                found[self.mlp_reader(layer), : self.first_writer(layer) + heads] = True
        found[-1] = True
        return found

    @cached_property
    def n_edges(self) -> int:
        return int(self.every.sum())

    def first_writer(self, layer: int) -> int:
        """Number of writers before a layer's heads."""
        return 1 + sum(self.heads[:layer]) + layer * self.mlps

    def head_writers(self, layer: int) -> slice:
        first = self.first_writer(layer)
        return slice(first, first + self.heads[layer])

    def mlp_writer(self, layer: int) -> int:
        return self.first_writer(layer) + self.heads[layer]

    def reading(self, layer: int) -> slice:
        """The readers that are inputs of a layer's heads."""
        first = 3 * sum(self.heads[:layer]) + layer * self.mlps
        return slice(first, first + 3 * self.heads[layer])

    def mlp_reader(self, layer: int) -> int:
        return self.reading(layer).stop

    def layer_of(self, reader: int) -> int:
        """Layer of a reader; for the logits, the number of layers."""
        ends = (self.reading(i).stop + self.mlps for i in range(len(self.heads)))
        return next((i for i, end in enumerate(ends) if reader < end), len(self.heads))

    def name(self, reader: int, writer: int) -> str:
        return f"{self.writers[writer]}{ARROW}{self.readers[reader]}"

    def names(self, mask: Tensor) -> list[str]:
        """Names of a circuit's edges, in the order in which they read."""
        return [self.name(reader, writer) for reader, writer in mask.nonzero().tolist()]

    def place(self, name: str) -> tuple[int, int]:
        """Return (reader, writer) of an edge.

        Raises:
            EditError: if the model has no edge of this name.
        """
        writer, arrow, reader = str(name).partition(ARROW)
        if not arrow or writer not in self._writer_at or reader not in self._reader_at:
            known = f"{self.writers[0]}{ARROW}{self.readers[0]}"
            raise EditError(
                f"edge {shown(name)} is not in this model of {len(self.heads)} layers with "
                f"{max(self.heads)} heads{'' if self.mlps else ' and no MLPs'}; write an edge as "
                f"{known!r}"
            )
        found = self._reader_at[reader], self._writer_at[writer]
        if not self.every[found]:
            raise EditError(f"edge {name!r} goes backwards: {reader} reads before {writer} writes")
        return found

    def mask(self, names: Iterable[str]) -> Tensor:
        """Return the mask of these edges.

        Raises:
            EditError: if the model has no edge of a name.
        """
        found = torch.zeros_like(self.every)
        for name in names:
            found[self.place(name)] = True
        return found

    # -- circuits ---------------------------------------------------------------------------------

    def connected(self, mask: Tensor) -> Tensor:
        """Return those of the edges that lie on a path from the embeddings to the logits."""
        kept = mask & self.every
        fed = torch.zeros(len(self.writers), dtype=torch.bool)
        fed[0] = True
        for writer, reads in self._reads.items():
            fed[writer] = bool(kept[reads][:, fed].any())
        used = torch.zeros(len(self.readers), dtype=torch.bool)
        used[-1] = True
        for writer, reads in reversed(self._reads.items()):
            used[reads] = bool(kept[used, writer].any())
        return kept & used[:, None] & fed

    def best(self, scores: Tensor, n: int) -> Tensor:
        """Return n edges, chosen backwards from the logits: at each step the edge of the largest
        score, by size, into a node that is in the circuit. None of them dangles.

        Raises:
            EditError: for no edge, for all of them, and for too few to connect the embeddings to
                the logits.
        """
        if type(n) is not int or n < 1:
            raise EditError(
                f"n must be at least 1, got {shown(n)}: a circuit of no edges keeps nothing"
            )
        if n >= self.n_edges:
            raise EditError(
                f"n must be below {self.n_edges}, the number of edges in the model, got {n}; a "
                "circuit leaves some out"
            )
        order = list(self._from_the_logits(scores.abs()))
        low, high = 0, len(order)
        while low < high:  # what is connected only grows
            middle = (low + high + 1) // 2
            enough = int(self.connected(self._of(order[:middle])).sum()) <= n
            low, high = (middle, high) if enough else (low, middle - 1)
        found = self.connected(self._of(order[:low]))
        return self._filled(found, order, n)

    def above(self, scores: Tensor, threshold: float) -> Tensor:
        """Return the edges whose score is at least this large, by size, without those that dangle.

        Raises:
            EditError: if that is none of them, or all.
        """
        found = self.connected((scores.abs() >= threshold) & self.every)
        n = int(found.sum())
        if n in (0, self.n_edges):
            largest = float(scores.abs()[self.every].max())
            what = "every edge scores" if n else "no path from the embeddings to the logits scores"
            raise EditError(
                f"threshold must keep some edges and leave some out, got {shown(threshold)}: "
                f"{what} that high; the largest score is {largest:.3g}"
            )
        return found

    def at_random(self, n: int, chance: torch.Generator) -> Tensor:
        """Draw n (rarely fewer) random edges that are connected as those of `best` are."""
        found = torch.zeros_like(self.every)
        for _ in range(TRIES):  # a few draws make too small a circuit, which nothing can fill
            with suppress(EditError):
                drawn = self.best(torch.rand(self.every.shape, generator=chance), n)
                found = max(found, drawn, key=lambda mask: int(mask.sum()))
            if int(found.sum()) == n:
                break
        return found

    # -- inside -----------------------------------------------------------------------------------

    @cached_property
    def _writer_at(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.writers)}

    @cached_property
    def _reader_at(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.readers)}

    @cached_property
    def _reads(self) -> dict[int, list[int]]:
        """writer -> its own readers, in the order in which they write; the input has none."""
        found = {}
        for layer, n in enumerate(self.heads):
            first = self.reading(layer).start
            for head, writer in enumerate(range(*self.head_writers(layer).indices(10**9))):
                found[writer] = [first + i * n + head for i in range(3)]
            if self.mlps:
                found[self.mlp_writer(layer)] = [self.mlp_reader(layer)]
        return found

    def _from_the_logits(self, sizes: Tensor) -> Iterator[tuple[int, int]]:
        """Yield every edge that can be reached, in the order in which the circuit grows."""
        waiting: list[tuple[float, int, int]] = []
        inside: set[int] = set()
        table = sizes.tolist()

        def admit(readers: Sequence[int]) -> None:
            for reader in readers:
                for writer in self.every[reader].nonzero()[:, 0].tolist():
                    heapq.heappush(waiting, (-table[reader][writer], reader, writer))

        admit([len(self.readers) - 1])
        while waiting:
            _, reader, writer = heapq.heappop(waiting)
            yield reader, writer
            if writer not in inside:
                inside.add(writer)
                admit(self._reads.get(writer, ()))

    def _of(self, order: Sequence[tuple[int, int]]) -> Tensor:
        found = torch.zeros_like(self.every)
        if order:
            readers, writers = zip(*order, strict=True)
            found[list(readers), list(writers)] = True
        return found

    def _filled(self, found: Tensor, order: Sequence[tuple[int, int]], n: int) -> Tensor:
        """Add the next edges between nodes of the circuit, up to n."""
        if not bool(found.any()):
            raise EditError(
                f"n={n} edges are too few to connect the embeddings to the logits by these "
                "scores; give a larger n"
            )
        nodes = found.any(0)
        reads = torch.zeros(len(self.readers), dtype=torch.bool)
        reads[-1] = True
        for writer, own in self._reads.items():
            reads[own] = nodes[writer]
        missing, found = n - int(found.sum()), found.clone()
        for reader, writer in order:
            if missing <= 0:
                break
            if reads[reader] and nodes[writer] and not found[reader, writer]:
                found[reader, writer] = True
                missing -= 1
        return found
