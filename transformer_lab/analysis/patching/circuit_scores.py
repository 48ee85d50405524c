"""A circuit and its scores: what its edges keep alone, and what is left without them, with a random
control.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...edits.kinds import EditError
from ...files import schemas
from ...files.paths import as_path
from ...files.safefiles import read_json
from ...files.tables import Table
from ...files.text_files import write_text
from ...tracing.provenance import Provenance
from .edge_graph import ARROW
from .edge_passes import EdgePasses
from .metric import Metric
from .results import CLOSE


class Control(NamedTuple):
    """A random circuit of as many edges: the metric with it alone, and with all the others."""

    alone: float
    without: float


@dataclass(frozen=True)
class Question:
    """How a circuit was requested, in values that JSON and Python can hold.

    Attributes:
        clean, corrupted: texts, or lists of ids. metric: Python code for it.
        computed: the model, its revision, and the software versions.
    """

    clean: Any
    corrupted: Any
    metric: str
    position: int | None
    computed: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(
        cls, model: Any, clean: Any, corrupted: Any, metric: Metric, position: int | None
    ) -> Question:
        from ...views.shared.exports import computed

        texts = [
            x if isinstance(x, str) else torch.as_tensor(x).tolist() for x in (clean, corrupted)
        ]
        return cls(texts[0], texts[1], _code(metric), position, computed([model]))

    def to_dict(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "corrupted": self.corrupted,
            "metric_code": self.metric,
            "position": self.position,
            "computed": dict(self.computed),
        }


@dataclass(frozen=True, eq=False)
class Circuit(Table):
    """Some edges of a model, how much of the metric they keep alone, and how much remains without
    them.

    Attributes:
        edges: their names; scores: how far the metric falls without each, None where not known.
        n_edges: how many the model has.
        clean, corrupted: the metric of the two runs.
        alone: the metric with only these edges live, all others as in the corrupted run; without:
            with only the others live.
        controls: the same for as many edges drawn at random.
        by: how they were chosen. seed: of the draws. metric: in words. model: its name.
        provenance: how it was made, see `tl.report`.
    """

    edges: tuple[str, ...]
    scores: tuple[float | None, ...] = field(repr=False)
    n_edges: int
    clean: float
    corrupted: float
    alone: float
    without: float
    controls: tuple[Control, ...]
    by: str
    seed: int
    metric: str
    model: str
    question: Question = field(repr=False)
    provenance: Provenance | None = field(default=None, repr=False)

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """A row for each edge."""
        return ["edge", "score"], [list(row) for row in zip(self.edges, self.scores, strict=True)]

    def share(self, value: float) -> float:
        """Where a metric lies between the corrupted run (0) and the clean one (1)."""
        return (value - self.corrupted) / (self.clean - self.corrupted)

    @property
    def faithfulness(self) -> float:
        """Fraction of the metric that the circuit alone keeps."""
        return self.share(self.alone)

    @property
    def lost(self) -> float:
        """Fraction of the metric that is lost without the circuit."""
        return 1 - self.share(self.without)

    @property
    def random_faithfulness(self) -> list[float]:
        return [self.share(control.alone) for control in self.controls]

    @property
    def random_lost(self) -> list[float]:
        return [1 - self.share(control.without) for control in self.controls]

    @property
    def nodes(self) -> list[str]:
        """Its writers, in the order in which they write."""
        return list(dict.fromkeys(sorted((e.split(ARROW)[0] for e in self.edges), key=_order)))

    @property
    def sentence(self) -> str:
        """What it keeps and what is lost without it, each with its control."""
        part = f"{len(self.edges)} of {self.n_edges} edges ({100 * len(self.edges) / self.n_edges:.1f}%)"
        runs = f"{self.metric} between the clean run ({_said(self.clean)}) and the corrupted run"
        kept, lost = _chance(self.random_faithfulness), _chance(self.random_lost)
        return (
            f"{part} keep {_share(self.faithfulness)} of the difference in {runs} "
            f"({_said(self.corrupted)}){kept}; without them {_share(self.lost)} of it is "
            f"lost{lost}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `Circuit.from_dict` reads them."""
        plain = {
            n: getattr(self, n)
            for n in (
                "model",
                "metric",
                "by",
                "seed",
                "n_edges",
                "alone",
                "without",
                "faithfulness",
                "lost",
            )
        }
        edges = [
            {"edge": name, "score": score}
            for name, score in zip(self.edges, self.scores, strict=True)
        ]
        return {
            "what": "circuit",
            **plain,
            "clean_value": self.clean,
            "corrupted_value": self.corrupted,
            "edges": edges,
            "controls": [control._asdict() for control in self.controls],
            "sentence": self.sentence,
            **self.question.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Circuit:
        """Rebuild a circuit.

        Raises:
            FileError: for anything but a circuit, saying what is wrong;
                `files/schemas/circuit.json` defines one.
        """
        schemas.check(fields, "circuit", "this circuit")
        asked = ("clean", "corrupted", "metric_code", "position", "computed")
        names = ("n_edges", "alone", "without", "by", "seed", "metric", "model")
        return cls(
            edges=tuple(edge["edge"] for edge in fields["edges"]),
            scores=tuple(edge["score"] for edge in fields["edges"]),
            clean=fields["clean_value"],
            corrupted=fields["corrupted_value"],
            controls=tuple(Control(one["alone"], one["without"]) for one in fields["controls"]),
            question=Question(*(fields[name] for name in asked)),
            **{name: fields[name] for name in names},
        )

    def to_json(self, path: str | os.PathLike) -> Path:
        """Write `to_dict()` to a file.

        Raises:
            ValueError: for a path that cannot hold a file.
        """
        text = json.dumps(self.to_dict(), ensure_ascii=False)
        return write_text(path, [text], such_as="circuit.json")

    @classmethod
    def from_json(cls, path: str | os.PathLike) -> Circuit:
        """Read what `to_json` wrote; errors as `from_dict`, and for a file that is not JSON."""
        return cls.from_dict(read_json(as_path(path), limit=schemas.LARGEST))

    def to_python(self) -> str:
        """Python code of a function of the model that makes this circuit and its scores again."""
        asked = self.question
        about = asked.computed["of"][0]
        of = f"{about['model'] or about['class']}" + (
            f", revision {about['revision']}" if about["revision"] else ""
        )
        more = "" if asked.position is None else f"        position={asked.position},\n"
        edges = "".join(f"            {name!r},\n" for name in self.edges)
        return (
            "import transformer_lab as tl\n\n\n"
            f"def circuit_of(model):\n"
            f"    # of {of}: {len(self.edges)} of {self.n_edges} edges, chosen by {self.by}\n"
            "    return tl.circuit(\n"
            "        model,\n"
            f"        {asked.clean!r},\n"
            f"        {asked.corrupted!r},\n"
            f"        metric={asked.metric},\n{more}"
            f"        edges=[\n{edges}        ],\n"
            f"        draws={len(self.controls)},\n"
            f"        seed={self.seed},\n"
            "    )\n"
        )

    def __repr__(self) -> str:
        return f"<Circuit. {self.sentence}>"


def scored(
    passes: EdgePasses,
    mask: Tensor,
    scores: Sequence[float] | None,
    by: str,
    question: Question,
    *,
    draws: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Circuit:
    """Run a circuit, what is left without it, and as many random edges.

    Raises:
        EditError: if the two runs have the same metric.
    """
    graph, pair = passes.graph, passes.pair
    if abs(passes.clean - passes.corrupted) <= CLOSE * max(1.0, abs(passes.clean)):
        raise EditError(
            f"both runs have the same {pair.metric.description}, {passes.clean:.4g}, so there is nothing "
            "for a circuit to keep"
        )
    chance, n = torch.Generator().manual_seed(seed), int(mask.sum())
    masks = [mask, *(graph.at_random(n, chance) for _ in range(draws))]
    masks = [one for live in masks for one in (live, graph.every & ~live)]
    found = passes.metrics(masks, progress)
    pairs = [Control(*found[i : i + 2]) for i in range(0, len(found), 2)]
    names = graph.names(mask)
    return Circuit(
        tuple(names),
        tuple(scores or [None] * len(names)),
        graph.n_edges,
        passes.clean,
        passes.corrupted,
        *pairs[0],
        tuple(pairs[1:]),
        by,
        seed,
        pair.metric.description,
        passes.name,
        question,
    )


def _code(metric: Metric) -> str:
    if metric.of is not None:
        return f"{metric.description}"  # the name of the user's function
    if metric.against is not None and metric.position == -1:
        return f"({metric.token}, {metric.against})"
    if metric.against is None and not metric.plain and metric.position == -1:
        return f"{metric.token}"
    more = "" if metric.against is None else f", against={metric.against}"
    return f"tl.Logit({metric.token}{more}, position={metric.position})"


def _order(node: str) -> tuple[int, int, int]:
    """Sort key: the order in which nodes write."""
    if node == "input":
        return -1, 0, 0
    layer, _, head = node[1:].partition(".h")
    return int(layer), node[0] == "m", int(head or 0)


def _chance(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean, largest = sum(values) / len(values), max(values)
    return (
        f" (control, as many random edges: {_share(mean)} on average, at most {_share(largest)} "
        f"in {len(values)} draws)"
    )


def _share(value: float) -> str:
    return f"{round(value, 2) + 0:.2f}".replace("-", "−")


def _said(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
