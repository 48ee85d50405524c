"""The number that a patch moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...edits.effects import checked_token, of_each_text
from ...edits.kinds import EditError
from ...graphs import analyses
from ...tracing.gradients import Logit, as_logit


@dataclass(frozen=True, eq=False)
class Metric:
    """A number computed from a model's predictions, the mean over the texts of a batch.

    Attributes:
        description: what it is, in words.
        of: a custom function of logits [batch, position, vocab]; None for the others.
        token, against: whose logits are compared; with no `against`, the log-probability of
            `token`. One for all texts, or one per text, [batch].
        position: where it is read, if that was requested; −1 for each text's own position.
        places: [batch], that position in one of the prompts, which has `n` tokens to predict from.
    """

    description: str
    of: Callable[[Tensor], Any] | None = None
    token: int | Tensor = 0
    against: int | Tensor | None = None
    plain: bool = False  # the logit of `token` itself
    position: int = -1
    places: Tensor | None = None
    n: int = 0

    def at_places(self, logits: Tensor) -> Tensor:
        """Return each text's number, [batch], from logits [batch, vocab] at its position."""
        rows = torch.arange(len(logits), device=logits.device)
        tokens = [of_each_text(x, rows) for x in (self.token, self.against) if x is not None]
        which = analyses.token_logit if self.plain else analyses.token_log_probability
        which = which if self.against is None else analyses.logit_difference
        return which(logits, *tokens)["metric"]

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the mean, from logits [batch, position, vocab] or answers [batch, class]."""
        return self.of_texts(logits).mean()

    def of_texts(self, logits: Tensor) -> Tensor:
        """Return each text's number, [batch]; a custom function gives one for all of them, [1].

        Raises:
            EditError: if a custom function does not give a single number, or a token does not
                exist.
        """
        if self.of is not None:
            found = torch.as_tensor(self.of(logits))
            if found.numel() != 1:
                raise EditError(
                    f"metric must return one number from the logits, got shape {list(found.shape)}"
                )
            return found.reshape(1)
        logits = logits[:, None] if logits.dim() == 2 else logits
        for token in (self.token, self.against):
            checked_token(token, logits.shape[-1])
        assert self.places is not None
        return self.at_places(rows_at(logits, self.places, self.n))


def rows_at(logits: Tensor, places: Tensor, n: int) -> Tensor:
    """Pick each text's position, [batch, vocab], from logits [batch, position, vocab], which may
    hold only the requested positions, or a classifier's one answer.
    """
    if logits.shape[1] != n:
        places = torch.searchsorted(places.unique(), places).clamp(max=logits.shape[1] - 1)
    return logits[torch.arange(len(logits), device=logits.device), places]


def metric_of(
    asked: Any,
    token_id: Callable[[str], int] | None,
    likeliest: Callable[[], tuple[int, int]],
    name: Callable[[int], str],
) -> Metric:
    """Return the `Metric` that an argument of `patching_grid` or `path_patch` means.

    Args:
        asked: see `patching_grid`; a `Metric` is returned as it is.
        likeliest: gives the most likely token after the clean prompt, and after the corrupted one.
        name: shows a token.

    Raises:
        EditError: for anything else, tokens that are not one token each, and if both prompts
            predict the same token and no metric was given.
    """
    if isinstance(asked, Metric):
        return asked
    if asked is None:
        asked = likeliest()
        if asked[0] == asked[1]:
            raise EditError(
                f"both prompts predict “{name(asked[0])}”; choose the logits to compare: "
                "metric=(answer, wrong)"
            )
    plain = isinstance(asked, Logit)
    try:
        of = as_logit(asked, token_id)
    except ValueError as error:
        raise EditError(f"metric={asked!r}: {str(error).removeprefix('gradients=')}") from error
    if not isinstance(of, Logit):
        return Metric(getattr(of, "__name__", "a function of the logits"), of=of)
    first = f"“{name(int(of.token))}”"
    where: dict[str, Any] = dict(token=int(of.token), position=of.position)
    if of.against is not None:
        text = f"logit of {first} − logit of “{name(int(of.against))}”"
        return Metric(text, against=int(of.against), **where)
    text = f"logit of {first}" if plain else f"log-probability of {first}"
    return Metric(text, plain=plain, **where)
