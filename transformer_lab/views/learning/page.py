"""A page that trains a small model in the browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ...adapters.lookup import network_of
from ...adapters.network import Inputs
from ...config import ModelConfig
from ...graphs.check import check_graph
from ...graphs.export import export_graph
from ...graphs.training import answers_graph, initial_draws, right_graph, update_graph
from ...model import Transformer
from ...optim import AdamW
from ...training.objective import IGNORED
from ..pages.carried import config_of
from ..pages.export import Block, page
from ..pages.tokenizers import packed_tokenizer
from ..shared.base import css, esm
from ..shared.modules import VIEWS, join_modules

MOST_WEIGHTS = 50_000  # a page trains models with fewer weights than this
EXAMINED = 50  # held-out texts on which the page measures accuracy


@dataclass(frozen=True)
class Course:
    """A task that a model learns in a page.

    Attributes:
        name, title: of the task. words: what is to be learned, and what to watch.
        config: of the model: fewer than 50,000 weights, a head, and no dropout.
        tokenizer: one of this library's.
        text: shown at first.
        tokens: int64 [example, position]; the last `held_out` examples are never trained on.
        targets: int64 [example, position], −100 for positions without a target; or
            [example, position, answer], each predicted by its own part of the logits.
        answers: names of the predictions at a position.
        names: of the classes that an answer chooses from.
        optimizer, steps, batch: how it is trained.

    Raises:
        ValueError: for a model that a page does not train, or an example without a target.
    """

    name: str
    title: str
    words: str
    config: ModelConfig
    tokenizer: Any
    text: str
    tokens: Tensor
    targets: Tensor
    answers: Sequence[str]
    names: Sequence[str]
    steps: int
    optimizer: AdamW = field(default_factory=lambda: AdamW(lr=0.01))
    batch: int = 64
    held_out: int = 200

    def __post_init__(self):
        if why := _why_not_trained(self.config):
            raise ValueError(f"this model cannot be trained in a page: {why}")
        nothing = (self.targets == IGNORED).flatten(1).all(1)
        if bool(nothing.any()):
            raise ValueError(
                f"every target of example {int(nothing.nonzero()[0])} is {IGNORED} (ignored); leave "
                "the example out, for a batch of such examples has no loss"
            )

    @property
    def block(self) -> Block:
        """What `begin` in school.js reads: graphs of the model and its training, and examples."""
        model = Transformer(self.config).eval()
        network, example = network_of(model), Inputs(self.tokens[:1])
        graph = export_graph(network, example)
        check_graph(graph, network, example)
        targets = self.targets.reshape(*self.tokens.shape, -1)
        examined = min(EXAMINED, self.held_out)

        def examples(n: int) -> dict[str, Tensor]:
            which = torch.arange(n) % len(targets)
            return {"tokens": self.tokens[which], "targets": targets[which]}

        analyses = {
            "update": update_graph(
                model, graph.weights, examples(self.batch), self.optimizer, self.steps
            ),
            "right": right_graph(model, graph.weights, examples(examined)),
            "answers": answers_graph(targets.shape[2], len(self.names)),
        }
        weights = {k: x for one in (graph, *analyses.values()) for k, x in one.weights.items()}
        drawn = initial_draws(lambda: Transformer(self.config), weights)
        constants = {
            k: x.detach().float().contiguous() for k, x in weights.items() if k not in drawn
        }
        about = {
            "config": config_of(network, graph, example),
            "graph": graph.description(),
            "analyses": {name: one.description() for name, one in analyses.items()},
            "drawn": drawn,
            "tokenizer": packed_tokenizer(self.tokenizer),
            "names": list(self.names),
        }
        info = {
            "steps": self.steps,
            "batch": self.batch,
            "examined": examined,
            "rows": len(self.tokens),
            "heldOut": self.held_out,
        }
        rows = [x.flatten().numpy().astype(np.int16).tobytes() for x in (self.tokens, targets)]
        text = json.dumps(about, allow_nan=False, separators=(",", ":")).encode("ascii")
        return Block(f"examples/{self.name}", info, [text, save(constants), *rows])

    @property
    def about(self) -> dict[str, Any]:
        """What the page shows about the task before training starts."""
        size = sum(weight.numel() for weight in Transformer(self.config).parameters())
        return {
            "name": self.name,
            "title": self.title,
            "words": self.words,
            "text": self.text,
            "answers": list(self.answers),
            "layers": self.config.n_layers,
            "heads": self.config.n_heads,
            "weights": size,
        }


def _why_not_trained(config: ModelConfig) -> str:
    """Why a page does not train a model, as the end of a sentence; "" if it does."""
    if not config.head:
        return "it has no head, and so nothing to be right about"
    if config.dropout > 0:
        return f"dropout={config.dropout} draws random numbers, which its graph does not; build it with dropout=0"
    size = Transformer(config).n_parameters()
    if size < MOST_WEIGHTS:
        return ""
    return f"it has {size:,} weights, and a page trains fewer than {MOST_WEIGHTS:,}"


def learning_page(courses: Sequence[Course], title: str) -> Iterator[str]:
    """The pieces of a page where a reader picks one of these models, trains it and watches it."""
    state = {
        "_esm": esm("learning/view.js"),
        "_css": css("learning"),
        "courses": [course.about for course in courses],
    }
    worker = Block("learning", {}, [join_modules(VIEWS / "learning" / "worker.js").encode()])
    blocks = [worker, *(course.block for course in courses)]
    return page(state, {}, title=title, sentence="A small model that learns here.", blocks=blocks)
