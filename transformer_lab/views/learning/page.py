"""A page in which a small model learns, with nothing but a browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ...config import ModelConfig
from ...files.models import describe, model_tensors
from ...model import Transformer
from ...optim import AdamW
from ..pages.carried import packed_tokenizer
from ..pages.export import Block, page
from ..shared.base import css, esm
from ..shared.modules import VIEWS, join_modules


@dataclass(frozen=True)
class Course:
    """What a model learns in a page.

    Attributes:
        name, title, words: the last say what is to be learned, and what to watch.
        config: of the model, which must have fewer than 50,000 weights and no dropout.
        tokenizer: one of ours.
        text: shown at first.
        tokens: int64 [example, position]; the last `held_out` examples are never trained on.
        targets: int64 [example, position], −100 where nothing is asked; or
            [example, position, answer], each told by its own part of the logits.
        answers: what is told at each position, one name for each.
        names: of the classes that an answer chooses from.
        optimizer, steps, batch: the recipe; its schedule is "cosine" or "constant".
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

    @property
    def block(self) -> Block:
        """What `begin` of school.js reads."""
        model = Transformer(self.config)
        how = self.optimizer
        recipe = {
            "steps": self.steps, "lr": how.lr, "betas": list(how.betas), "eps": how.eps,
            "decay": how.weight_decay, "schedule": how.schedule, "clip": how.clip,
        }  # fmt: skip
        info = {
            "config": describe(model),
            "shapes": {name: list(t.shape) for name, t in model_tensors(model).items()},
            "tokenizer": packed_tokenizer(self.tokenizer),
            "names": list(self.names),
            "recipe": recipe,
            "batch": self.batch,
            "rows": len(self.tokens),
            "heldOut": self.held_out,
        }
        rows = [x.flatten().numpy().astype(np.int16).tobytes() for x in (self.tokens, self.targets)]
        return Block(f"examples/{self.name}", info, rows)

    @property
    def told(self) -> dict[str, Any]:
        """What the page says of it before it begins."""
        size = sum(weight.numel() for weight in Transformer(self.config).parameters())
        return {
            "name": self.name, "title": self.title, "words": self.words, "text": self.text,
            "answers": list(self.answers), "layers": self.config.n_layers,
            "heads": self.config.n_heads, "weights": size,
        }  # fmt: skip


def learning_page(courses: Sequence[Course], title: str) -> Iterator[str]:
    """The pieces of a page in which one of these models is chosen, trained and watched."""
    state = {
        "_esm": esm("learning/view.js"),
        "_css": css("learning"),
        "courses": [course.told for course in courses],
    }
    worker = Block("learning", {}, [join_modules(VIEWS / "learning" / "worker.js").encode()])
    blocks = [worker, *(course.block for course in courses)]
    return page(state, {}, title=title, sentence="A small model that learns here.", blocks=blocks)
