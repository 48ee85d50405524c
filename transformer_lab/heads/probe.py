"""Linear probes: what can be read, by a linear map, from the stream and from each head's output.

A probe that is right has not shown that the model uses what it reads, nor that the model knows it:
a wide vector lets a probe memorise. So every accuracy comes with that of a control task, in which
the same probe learns random labels; their difference is the selectivity.
Source: Alain & Bengio 2016 (probes); Hewitt & Liang 2019 (control tasks, selectivity).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..files.tables import Table
from ..files.waiting import waiting
from ..text_model import TextModel
from ..tracing.trace import Trace

Label = Any  # hashable; None leaves a token out


@dataclass(frozen=True, eq=False)
class LinearProbes(Table):
    """Accuracies of linear probes on texts that they were not fitted to.

    layers: fp64 [layer + 1], of the residual stream: row 0 before the first block, row l + 1 after
        block l.
    heads: fp64 [layer, head], of each head's output z; NaN for heads that a layer does not have.
    layers_control, heads_control: the same for the control task.
    baseline: accuracy of always guessing the most frequent label of the texts fitted to.
    classes: the labels, in the order in which they first occur.
    n: examples, over all texts.
    by: "text" or "token".

    All accuracies are fractions, 0 to 1, over the examples of all folds.
    """

    layers: Tensor
    heads: Tensor
    layers_control: Tensor
    heads_control: Tensor
    baseline: float
    classes: tuple[Label, ...] = field(repr=False)
    n: int
    by: str

    @property
    def layers_selectivity(self) -> Tensor:
        """[layer + 1]: accuracy minus that of the control task, −1 to 1."""
        return self.layers - self.layers_control

    @property
    def heads_selectivity(self) -> Tensor:
        """[layer, head]: accuracy minus that of the control task, −1 to 1."""
        return self.heads - self.heads_control

    def cells(self) -> tuple[Sequence[str], list[list[Any]]]:
        """A row for each layer's stream (layer −1: before the first block), then for each head."""
        columns = ("what", "layer", "head", "accuracy", "control", "selectivity", "baseline")
        rows: list[list[Any]] = [
            ["stream", i - 1, None, a, c, a - c, self.baseline]
            for i, (a, c) in enumerate(
                zip(self.layers.tolist(), self.layers_control.tolist(), strict=True)
            )
        ]
        for layer, head in (~self.heads.isnan()).nonzero().tolist():
            a, c = self.heads[layer, head].item(), self.heads_control[layer, head].item()
            rows.append(["head", layer, head, a, c, a - c, self.baseline])
        return columns, rows


def probe(
    model: TextModel,
    texts: Sequence[str],
    labels: Sequence[Label] | Sequence[Sequence[Label]],
    *,
    folds: int = 5,
    penalty: float = 0.1,
    seed: int = 0,
) -> LinearProbes:
    """Fit a linear probe to the residual stream of every layer and to the output of every head.

    Each is ridge regression to the classes, on features that are centred and scaled by the texts
    fitted to; the largest output is the guess. Texts are split into folds, and each fold is guessed
    by a probe fitted to the others, so that no two tokens of a text are on both sides.

    The control task gives each *type* a random label, drawn from the frequencies of the real ones:
    a type is a token id where labels are by token, and a text where they are by text. It can only
    be solved by memorising types, so a probe with much capacity is found out. Where every text is
    another, the control cannot be solved at all, and is then a test of chance.

    Args:
        texts: at least `folds` texts.
        labels: one for each text, which is then read at its last token that is not special; or, for
            each text, a list or tuple with one for each token of `model.encode(text)`, None for
            tokens that are not counted.
        folds: at least 2.
        penalty: of the ridge, in units of the number of examples fitted to; above 0.
        seed: of folds and random labels.

    Raises:
        TypeError: for a model without a tokenizer.
        ValueError: for too few texts, labels of another length, or fewer than two classes in two
            texts each.
        TraceError: for a model whose stream or heads cannot be recorded.
    """
    labels = labels.tolist() if hasattr(labels, "tolist") else labels  # type: ignore[union-attr]
    _check(model, texts, labels, folds, penalty)
    by = "token" if isinstance(labels[0], (list, tuple)) else "text"
    wanted: list[Label] = []
    types: list[Any] = []
    source: list[int] = []  # the text that an example comes from
    parts: list[list[Tensor]] = []
    with waiting("Reading texts for probes") as tell:
        for number, (text, given) in enumerate(zip(texts, labels, strict=True)):
            found = model.trace(text, keep="all")
            places, named = _examples(found, text, given, by)
            ids = found.tokens[0].tolist()  # type: ignore[index]
            wanted += named
            types += [ids[i] for i in places] if by == "token" else [text]
            source += [number] * len(places)
            parts.append([x[..., places, :].float().cpu() for x in _features(found)])
            tell(number + 1, len(texts))
    classes = tuple(dict.fromkeys(wanted))
    real = torch.tensor([classes.index(x) for x in wanted])
    of_text = torch.tensor(source)
    _check_classes(classes, real, of_text)
    generator = torch.Generator().manual_seed(seed)
    fold = _folds(real, of_text, folds, generator)
    control = _by_type(types, real, generator)
    sites = [torch.cat(each, -2) for each in zip(*parts, strict=True)]
    with waiting("Fitting probes"):
        right = [_accuracies(x, (real, control), len(classes), fold, penalty) for x in sites]
    stream, heads = right[0], right[1:]  # [site, task]
    guessed = torch.stack([_majority(real[fold != f], real[fold == f]) for f in fold.unique()])
    n_heads = max((len(x) for x in heads), default=0)
    table = torch.full((len(heads), n_heads, 2), float("nan"), dtype=torch.float64)
    for layer, each in enumerate(heads):
        table[layer, : len(each)] = each
    return LinearProbes(
        stream[:, 0],
        table[..., 0],
        stream[:, 1],
        table[..., 1],
        float(guessed.sum() / len(real)),
        classes,
        len(real),
        by,
    )


# -- inside -----------------------------------------------------------------------------------------


def _check(model: Any, texts: Any, labels: Any, folds: int, penalty: float) -> None:
    if not isinstance(model, TextModel):
        raise TypeError(
            f"model must be a TextModel, which has a tokenizer, got {type(model).__name__}; try "
            "tl.TextModel(model, tokenizer)"
        )
    if model.kind == "encoder-decoder":
        raise ValueError(f"probes read one text, and {model.name} is an encoder-decoder")
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise ValueError(f"folds must be a whole number from 2, got {folds!r}")
    if isinstance(texts, str) or len(texts) < folds:
        n = "one text" if isinstance(texts, str) else f"{len(texts)}"
        raise ValueError(
            f"texts must be a list of at least folds={folds} texts, got {n}; give more texts, or "
            "fewer folds"
        )
    if not 0 < penalty < float("inf"):
        raise ValueError(f"penalty must be a number above 0, got {penalty!r}; try 0.1")
    if isinstance(labels, str) or len(labels) != len(texts):
        n = "a str" if isinstance(labels, str) else len(labels)
        raise ValueError(
            f"labels must be one for each text, or a list of one for each token of it: {len(texts)} "
            f"texts, got {n}"
        )
    kinds = [isinstance(one, (list, tuple)) for one in labels]
    if any(kinds) and not all(kinds):
        other = kinds.index(not kinds[0])
        raise ValueError(
            "labels must all be by text or all by token (a list for each text), got "
            f"{labels[0]!r} and, for text {other}, {labels[other]!r}"
        )


def _check_classes(classes: Sequence[Label], real: Tensor, of_text: Tensor) -> None:
    if len(classes) < 2:
        raise ValueError(f"labels must name at least two classes, got only {list(classes)}")
    for number, name in enumerate(classes):
        if len(of_text[real == number].unique()) < 2:
            raise ValueError(
                f"every label must be in at least two texts, to be fitted and to be guessed; {name!r} "
                "is in one: give more texts, or None for its tokens"
            )


def _examples(trace: Trace, text: str, given: Any, by: str) -> tuple[list[int], list[Label]]:
    """The positions of a text that are examples, and their labels."""
    special = trace.special()
    if by == "text":
        plain = [i for i, one in enumerate(special) if not one]
        if given is None:
            raise ValueError(f"a label by text cannot be None: leave the text out: {text!r}")
        return [plain[-1] if plain else len(special) - 1], [given]
    if len(given) != len(special):
        raise ValueError(
            f"labels by token must be one for each token of model.encode(text): {text!r} has "
            f"{len(special)}, got {len(given)}"
        )
    places = [i for i, one in enumerate(given) if one is not None]
    return places, [given[i] for i in places]


def _features(trace: Trace) -> Iterator[Tensor]:
    """The stream [layer + 1, position, d_model], then each layer's heads [head, position, d_head]."""
    stream = trace.residual()
    yield torch.cat((stream["resid_pre"][:1], stream["resid_post"]))
    for layer in range(trace.n_layers()):
        if trace.heads_of(layer):
            yield trace.activation("z", layer)[0]
        else:
            yield stream["resid_pre"].new_zeros(0, stream["resid_pre"].shape[1], 1)


def _folds(real: Tensor, of_text: Tensor, folds: int, generator: torch.Generator) -> Tensor:
    """[example]: the fold of its text. Texts are dealt class by class, by their first label."""
    texts, number = of_text.unique(return_inverse=True)
    order = torch.randperm(len(texts), generator=generator)
    first = torch.stack([real[of_text == text][0] for text in texts])
    dealt = order[first[order].argsort(stable=True)]
    fold_of = torch.empty_like(texts)
    fold_of[dealt] = torch.arange(len(texts)) % folds
    return fold_of[number]


def _by_type(types: Sequence[Any], real: Tensor, generator: torch.Generator) -> Tensor:
    """[example]: a random label for each type, drawn from the real labels' frequencies."""
    drawn = real[torch.randint(len(real), (len(set(types)),), generator=generator)].tolist()
    label = dict(zip(Counter(types), drawn, strict=True))
    return torch.tensor([label[one] for one in types])


def _majority(fitted: Tensor, guessed: Tensor) -> Tensor:
    """How many of `guessed` are the most frequent label of `fitted`."""
    return (guessed == fitted.mode().values).sum()


def _accuracies(
    x: Tensor, tasks: Sequence[Tensor], n_classes: int, fold: Tensor, penalty: float
) -> Tensor:
    """fp64 [site, task] from features [site, example, number]; all tasks share one solution."""
    right = torch.zeros(len(x), len(tasks), dtype=torch.float64)
    targets = torch.cat([torch.nn.functional.one_hot(t, n_classes) for t in tasks], -1).double()
    for f in fold.unique():
        out = fold == f
        for site, features in enumerate(x):
            fitted = features[~out].double()
            mean, scale = fitted.mean(0), fitted.std(0, correction=0)
            scale = torch.where(scale > 1e-8 * scale.max().clamp(min=1e-30), scale, torch.inf)
            a, b = (fitted - mean) / scale, (features[out].double() - mean) / scale
            middle = targets[~out].mean(0)
            y, ridge = targets[~out] - middle, penalty * len(a)
            if a.shape[0] < a.shape[1]:  # the same solution, in the space of examples
                weights = a.T @ torch.linalg.solve(a @ a.T + ridge * torch.eye(len(a)).double(), y)
            else:
                eye = torch.eye(a.shape[1]).double()
                weights = torch.linalg.solve(a.T @ a + ridge * eye, a.T @ y)
            scores = (b @ weights + middle).unflatten(-1, (len(tasks), n_classes))
            for task, wanted in enumerate(tasks):
                right[site, task] += (scores[:, task].argmax(-1) == wanted[out]).sum()
    return right / len(fold)
