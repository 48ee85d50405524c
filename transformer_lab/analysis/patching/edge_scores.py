"""Which edges carry the answer: how far the metric falls when one edge alone is corrupted.

scores = tl.edge_scores(model, clean, corrupted)    # estimated, from a few gradient passes
scores = scores.measure(scores.top(20))             # and exactly, for chosen edges
circuit = scores.circuit(n=40)                      # the best together, with a random control
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...arguments import shown
from ...edits.kinds import EditError
from ...files.tables import Table
from ...files.waiting import waiting
from ...tracing.provenance import Provenance, finding
from .circuit_scores import Circuit, Question, scored
from .edge_graph import EdgeGraph
from .edge_passes import EdgePasses
from .prompt_pair import Pair

WAYS = ("eap", "eap-ig", "exact")


class Edge(NamedTuple):
    """One edge, and how far the metric falls without what it carries: exactly, and by an estimate;
    None if not known.
    """

    name: str
    exact: float | None
    estimate: float | None

    @property
    def score(self) -> float:
        """The exact number if it is known, else the estimate."""
        return (self.exact if self.exact is not None else self.estimate) or 0.0


@dataclass(frozen=True, eq=False)
class EdgeScores(Table):
    """How far the metric of the clean run falls when one edge alone takes its corrupted value.

    Attributes:
        graph: which edges there are; `graph.names(graph.every)` names them.
        estimate, exact: fp32 [reader, writer]; NaN if it is not known, or there is no edge.
        clean, corrupted: the metric of the two runs.
        by: how they were estimated: "eap" or "eap-ig", or "exact" if they were not. steps: of
            EAP-IG.
        metric: in words. model: its name. provenance: how they were made, see `tl.report`.
    """

    graph: EdgeGraph
    estimate: Tensor = field(repr=False)
    exact: Tensor = field(repr=False)
    clean: float
    corrupted: float
    by: str
    steps: int
    metric: str
    model: str
    question: Question = field(repr=False)
    passes: EdgePasses = field(repr=False)
    provenance: Provenance | None = field(default=None, repr=False)

    @property
    def values(self) -> Tensor:
        """The exact score where it is known, and the estimate elsewhere."""
        return torch.where(self.exact.isnan(), self.estimate, self.exact)

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """A row for each edge, the largest score first."""
        edges = self.top(int(self.graph.every.sum()))
        return ["edge", "exact", "estimate"], [[e.name, e.exact, e.estimate] for e in edges]

    def edge(self, name: str) -> Edge:
        """Return one edge.

        Raises:
            EditError: if the model has no edge of this name.
        """
        at = self.graph.place(name)
        numbers = (x[at] for x in (self.exact, self.estimate))
        exact, estimate = (None if bool(x.isnan()) else float(x) for x in numbers)
        return Edge(name, exact, estimate)

    def top(self, k: int = 10) -> list[Edge]:
        """The edges with the largest scores, either way, largest first."""
        places = self.graph.every.nonzero()
        sizes = self.values[self.graph.every].abs().nan_to_num(-1.0)
        order = sizes.argsort(descending=True, stable=True)[:k]
        return [self.edge(self.graph.name(*places[i].tolist())) for i in order]

    def measure(
        self,
        edges: Iterable[Edge | str] | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> EdgeScores:
        """Return the scores with these edges measured exactly, corrupted one by one; None: all of
        them.

        Args:
            progress: called with (edges done, edges in all); an exception from it ends the work.

        Raises:
            EditError: if the model has no edge of a name.
        """
        names = [edge if isinstance(edge, str) else edge.name for edge in edges or ()]
        places = (
            self.graph.every.nonzero().tolist() if edges is None else map(self.graph.place, names)
        )
        places = list(dict.fromkeys(map(tuple, places)))
        masks = [self.graph.every.clone() for _ in places]
        for mask, place in zip(masks, places, strict=True):
            mask[place] = False
        exact = self.exact.clone()
        for place, value in zip(places, self.passes.metrics(masks, progress), strict=True):
            exact[place] = self.clean - value
        return replace(self, exact=exact)

    def circuit(
        self,
        n: int | None = None,
        *,
        threshold: float | None = None,
        edges: Sequence[str] | None = None,
        draws: int = 5,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Circuit:
        """Choose edges as a circuit, and measure what they keep; see `circuit`."""
        check_draws(draws, seed)
        mask = chosen(self.graph, n, threshold, edges, self.values.nan_to_num(0.0))
        numbers = self.values[mask].tolist()
        how = f"{self.by}{f' in {self.steps} steps' if self.by == 'eap-ig' else ''}"
        found = scored(
            self.passes,
            mask,
            numbers,
            how,
            self.question,
            draws=draws,
            seed=seed,
            progress=progress,
        )
        if self.provenance is None or (self.by != "exact" and not self.exact.isnan().all()):
            return found  # no single call chooses by estimates of some edges and measures of others
        more = dict(n=n, threshold=threshold, edges=edges, draws=draws, seed=seed)
        return replace(found, provenance=self.provenance.as_call_of("circuit", more))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not known."""
        plain = {n: getattr(self, n) for n in ("model", "metric", "by", "steps")}
        edges = [self.edge(name) for name in self.graph.names(self.graph.every)]
        numbers = {n: [getattr(edge, n) for edge in edges] for n in ("exact", "estimate")}
        return {
            **plain,
            "clean_value": self.clean,
            "corrupted_value": self.corrupted,
            "edges": [edge.name for edge in edges],
            **numbers,
            **self.question.to_dict(),
        }

    def __repr__(self) -> str:
        most = ", ".join(f"{edge.name} {edge.score:+.3g}" for edge in self.top(3))
        return (
            f"<EdgeScores of {self.graph.n_edges} edges by {self.by}: {self.metric} "
            f"{self.clean:.3g} in the clean run, {self.corrupted:.3g} in the corrupted run; "
            f"largest: {most}>"
        )


@finding
def edge_scores(
    model: Any,
    clean: Any,
    corrupted: Any,
    *,
    metric: Any = None,
    by: str = "eap-ig",
    steps: int = 5,
    position: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 512,
) -> EdgeScores:
    """Score every edge by how far the metric falls when that edge alone is corrupted. Edges lead
    from the embeddings, each head and each MLP to the queries, keys and values of later heads, to
    later MLPs and to the logits.

    Args:
        model: a decoder: a `Transformer`, a Hugging Face model or a `TextModel` (then give texts).
        clean, corrupted: two prompts of the same length, or two batches of as many token ids.
        metric, position: as in `patching_grid`.
        by: "eap" estimates from one gradient at the clean run (Syed et al. 2023); "eap-ig" from the
            mean gradient with the embeddings on their way from the corrupted run to the clean one
            (Hanna et al. 2024); "exact" runs the model once for each edge.
        steps: number of gradients of EAP-IG.
        progress: called with (gradients or edges done, in all); an exception from it ends the work.
        budget_mib: for exact passes that share a run; see `sweep_heads`. A gradient pass has no
            bound: it needs the text in 3 · heads + 1 copies, with its graph (SmolLM2-135M on 15
            tokens: 1.8 GB).

    Raises:
        EditError: for prompts of different length, an unknown metric or way, a model whose edges
            are not known, with the reason.
    """
    if by not in WAYS:
        raise EditError(f"by must be one of {', '.join(WAYS)}, got {shown(by)}")
    if type(steps) is not int or steps < 1:
        raise EditError(f"steps must be a whole number of at least 1, got {shown(steps)}")
    passes, question = asked(model, clean, corrupted, metric, position, budget_mib)
    unknown = torch.full(passes.graph.every.shape, float("nan"))
    estimate = unknown
    if by != "exact":
        shares = [1.0] if by == "eap" else [(i + 1) / steps for i in range(steps)]
        total = torch.zeros_like(unknown)
        with waiting("Scoring edges", progress) as tell:
            for i, share in enumerate(shares):
                total += passes.slopes(share) / len(shares)
                tell(i + 1, len(shares))
        estimate = total.masked_fill(~passes.graph.every, float("nan"))
    found = EdgeScores(
        passes.graph,
        estimate,
        unknown,
        passes.clean,
        passes.corrupted,
        by,
        steps,
        passes.pair.metric.description,
        passes.name,
        question,
        passes,
    )
    return found.measure(progress=progress) if by == "exact" else found


@finding
def circuit(
    model: Any,
    clean: Any,
    corrupted: Any,
    *,
    n: int | None = None,
    threshold: float | None = None,
    edges: Sequence[str] | None = None,
    metric: Any = None,
    by: str = "eap-ig",
    steps: int = 5,
    position: int | None = None,
    draws: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 512,
) -> Circuit:
    """Choose some of a model's edges as a circuit, and measure the metric with only these edges
    live (every other edge takes its value from the corrupted run), and with only the others live.
    The control is as many edges drawn at random.

    Args:
        n: how many edges: the best, chosen backwards from the logits, so that none dangles.
        threshold: instead: all edges whose score is at least this large, by size, and that do not
            dangle.
        edges: instead: their names, such as "a1.h2->a2.h2<k>".
        draws, seed: of the random circuits of the control.
        model, clean, corrupted, metric, by, steps, position, progress, budget_mib: as in
            `edge_scores`.

    Raises:
        EditError: for a circuit that is empty or everything, an edge that does not exist, two runs
            with the same metric; and as `edge_scores`.

    Source: Wang et al. 2022; Hanna et al. 2024.
    """
    check_draws(draws, seed)
    if edges is None:
        if (n is None) == (threshold is None):
            raise EditError("give exactly one of n, threshold and edges, to choose the edges")
        scores = edge_scores(
            model,
            clean,
            corrupted,
            metric=metric,
            by=by,
            steps=steps,
            position=position,
            progress=progress,
            budget_mib=budget_mib,
        )
        return scores.circuit(n, threshold=threshold, draws=draws, seed=seed)
    passes, question = asked(model, clean, corrupted, metric, position, budget_mib)
    mask = chosen(passes.graph, n, threshold, edges, None)
    how = "hand"
    return scored(passes, mask, None, how, question, draws=draws, seed=seed, progress=progress)


def asked(
    model: Any, clean: Any, corrupted: Any, metric: Any, position: int | None, budget_mib: float
) -> tuple[EdgePasses, Question]:
    """Return the passes for two prompts, and the question in a form that can be saved."""
    pair = Pair(
        model,
        clean,
        corrupted,
        metric=metric,
        direction="denoising",
        align=None,
        position=position,
        given={},
        one_length=True,
    )
    passes = EdgePasses(pair, budget_mib)
    return passes, Question.of(model, clean, corrupted, pair.metric, position)


def chosen(
    graph: EdgeGraph,
    n: int | None,
    threshold: float | None,
    edges: Sequence[str] | None,
    scores: Tensor | None,
) -> Tensor:
    """Return the mask of the chosen edges.

    Raises:
        EditError: for none or several of n, threshold and edges; for a circuit that is empty or
            everything.
    """
    if sum(x is not None for x in (n, threshold, edges)) != 1:
        raise EditError("give exactly one of n, threshold and edges, to choose the edges")
    if edges is None:
        assert scores is not None
        return (
            graph.best(scores, n) if n is not None else graph.above(scores, float(threshold or 0))
        )
    if isinstance(edges, str):
        raise EditError(f"edges must be a list of names, got {shown(edges)}")
    found = graph.mask(edges)
    if not bool(graph.connected(found).any()):
        raise EditError(
            f"edges must connect the embeddings to the logits, got {shown(list(edges))}: none of "
            "them is on such a path, so the circuit is empty"
        )
    if torch.equal(found, graph.every):
        raise EditError(f"edges must leave some edges out, got all {graph.n_edges}")
    return found


def check_draws(draws: Any, seed: Any) -> None:
    for name, value in (("draws", draws), ("seed", seed)):
        if type(value) is not int or value < 0:
            raise EditError(f"{name} must be a whole number of at least 0, got {shown(value)}")
