"""The parts of a grader: cases, the mistakes that it recognises, and helpers for several
lessons."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:  # lessons can be copied without torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """One call that the learner's function has to get right.

    Args:
        name: completes "on …": "two sentences at once".
        arguments: by position. Tensors are on the CPU, floating-point ones in float32 (the reference
            gets them in float64); whole numbers, functions and the like are passed unchanged.
    """

    name: str
    arguments: tuple[Any, ...]


class Unfit(Exception):
    """The learner's code cannot be used; the message says what is missing, and where."""


@dataclass(frozen=True)
class Mistake:
    """A known mistake, as a change of the reference's source.

    Args:
        step: the step that goes wrong, or "".
        edits: replacements as (old, new); both may have several lines.
        body: a new body for the whole function, instead of edits.
        sentence: the feedback for the learner: what went wrong and where to look, but not the
            answer.
    """

    step: str
    edits: tuple[tuple[str, str], ...]
    body: str
    sentence: str


def mistakes_in(text: str) -> list[Mistake]:
    """Read mistakes from a text like a diff, one paragraph for each:

        # scale
        - scores / math.sqrt(query.shape[-1])
        + scores
          The scores are not scaled.

    `-` is a piece of the reference's source that occurs once, and `+` replaces it. Lines with `=`
    are a new body for the whole function, whose last line is returned; in it, `right` is the
    reference. The indented lines are the sentence for the learner. A heading names the step that
    goes wrong: mistakes in different steps are also recognised in pairs.
    """
    step, mistakes = "", []
    for paragraph in text.strip().split("\n\n"):
        if heading := re.match("#(.*)", paragraph):
            step = heading[1].strip()
        pairs = re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)*)", paragraph, re.MULTILINE)
        edits = tuple((_lines("-", old), _lines("+", new)) for old, new in pairs)
        sentence = _lines(" ", paragraph).replace("\n", " ")
        mistakes.append(Mistake(step, edits, _lines("=", paragraph), sentence))
    return mistakes


def _lines(sign: str, text: str) -> str:
    """The lines that begin with a sign, without the sign."""
    return "\n".join(line[2:] for line in text.splitlines() if line.startswith(sign))


def edited(source: str, edits: Sequence[tuple[str, str]]) -> str:
    """Replace pieces of a source; new lines are indented like the line they begin in.

    Raises:
        ValueError: a piece does not occur exactly once, or two of them overlap.
    """
    places = []
    for old, new in edits:
        pattern = r"\s*\n\s*".join(map(re.escape, map(str.strip, old.splitlines())))
        there = list(re.finditer(pattern, source))
        if len(there) != 1:
            raise ValueError(
                f"{old!r} must occur once in the source, but occurs {len(there)} times"
            )
        start, end = there[0].span()
        line = source[source.rfind("\n", 0, start) + 1 : start]
        indent = line[: len(line) - len(line.lstrip())]
        places.append((start, end, new.replace("\n", "\n" + indent)))
    places.sort()
    if any(start < end for (_, end, _), (start, _, _) in pairwise(places)):
        raise ValueError("two edits overlap")
    for start, end, new in reversed(places):
        source = source[:start] + new + source[end:]
    return source


def rewritten(source: str, body: str) -> str:
    """Replace the body of a function; the new body's last line is returned."""
    head = source.splitlines()[: ast.parse(source).body[0].body[0].lineno - 1]  # type: ignore
    *lines, last = body.splitlines()
    last = last if last.startswith((" ", "return ")) else f"return {last}"
    return "\n".join([*head, *(f"    {line}" for line in [*lines, last])])


def remade(
    function: Callable[..., Any], source: str, names: Mapping[str, Any], file: str = "<string>"
) -> Callable[..., Any]:
    """Compile a function or class from another source, which may use `names` and those of its own
    module."""
    names = vars(sys.modules[function.__module__]) | dict(names)
    exec(compile(source, file, "exec"), names)
    return names[function.__name__]


@dataclass
class Suspect:
    """A wrong answer that can be run: if the learner's numbers equal its numbers, the sentence is
    shown.

    Args:
        grader: the one whose reference is changed.
        mistakes: one, or two at once.
    """

    grader: Grader
    mistakes: tuple[Mistake, ...]

    @property
    def sentence(self) -> str:
        sentences = [mistake.sentence for mistake in self.mistakes]
        if len(sentences) == 1:
            return sentences[0]
        return f"Two things at once. First: {sentences[0]} Second: {sentences[1]}"

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The wrong function or class.

        Raises:
            ValueError: an edit does not fit the reference, or two of them overlap.
        """
        right = self.grader.reference
        source = inspect.getsource(right)
        if self.mistakes[0].body:
            source = rewritten(source, self.mistakes[0].body)
        else:
            source = edited(source, [edit for mistake in self.mistakes for edit in mistake.edits])
        return remade(right, source, self.grader.cases.__globals__ | {"right": right})


@dataclass(frozen=True)
class Grader:
    """How one exercise is checked.

    Args:
        reference: the correct function or class, in solutions/lesson_NN.py.
        cases: returns the cases; the diagnosis explains the first one that fails.
        mistakes: those to recognise, the most informative first; see `mistakes_in`. They may use
            the names of the modules of `cases` and `reference`.
        compare_as: applied to the reference's and the learner's result before comparing, so that
            several right answers count as equal (a mask of −∞ and one of −10⁹).
        shape_hint: the expected shape, in words.
        use: computes a tensor from the learner's code, use(written, *arguments), if a plain call
            with the arguments is not enough: for a class, it creates an object and runs it. It
            raises `Unfit` for code that cannot be used.
        noun: "function", or another word for what returns that tensor.
        contents: what that tensor holds, if it is more than the learner's code returns.
        retired: whether it was removed from the lessons; answers in older copies are still checked.
        seconds: time limit for all cases together; an answer that is trained needs more.
        variant: a change of the task, in the form of a mistake: how the reference changes, and the
            new task for the learner. Further paragraphs are mistakes of the changed exercise. DRAWN
            is replaced by one of `values`.
        values: the values that `varied` chooses from.
    """

    reference: Callable[..., Any]
    cases: Callable[[], list[Case]]
    shape_hint: str
    mistakes: str = field(repr=False)
    compare_as: Callable[[Tensor], Tensor] = lambda result: result
    use: Callable[..., Tensor] | None = None
    noun: str = "function"
    contents: str = ""
    retired: bool = False
    seconds: float = 10.0
    variant: str = field(default="", repr=False)
    values: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """ "lesson/function"."""
        lesson = self.reference.__module__.rpartition("lesson_")[2]
        return f"{lesson}/{self.reference.__name__}"

    @cached_property
    def named(self) -> Sequence[Mistake]:
        """The mistakes that are recognised, in order."""
        return mistakes_in(self.mistakes)

    @cached_property
    def suspects(self) -> tuple[Suspect, ...]:
        """Every single mistake, then every pair of mistakes in different steps."""
        return tuple(self._suspects())

    def _suspects(self) -> Iterator[Suspect]:
        yield from (Suspect(self, (mistake,)) for mistake in self.named)
        for pair in combinations((m for m in self.named if m.step and not m.body), 2):
            if pair[0].step != pair[1].step:
                yield Suspect(self, pair)

    def run(self, written: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function or class on the arguments of a case and return its result."""
        return written(*arguments) if self.use is None else self.use(written, *arguments)

    def changed(self, value: float) -> list[Mistake]:
        """The change of the task for a value, then the mistakes of the changed exercise."""
        return mistakes_in(self.variant.replace("DRAWN", str(value)))

    def varied(self, number: int) -> Grader:
        """The grader of a variant of the exercise; this one for 0, or if it has no variants.
        Consecutive numbers cycle through the values."""
        if not (number and self.variant):
            return self
        value = self.values[number % len(self.values)]
        source = edited(inspect.getsource(self.reference), self.changed(value)[0].edits)
        file = f"<{self.name}, variant {number}>"
        # `inspect` looks here for source that is not in a file.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        same = {field.name: getattr(self, field.name) for field in fields(self)}
        same["reference"] = remade(self.reference, source, {}, file)
        return Variant(**same, book=self, number=number, value=value)


@dataclass(frozen=True, kw_only=True)
class Variant(Grader):
    """The grader of an exercise with a change of its task.

    Args:
        book: the grader of the exercise as it is in the lesson.
        number: the variant's number.
        value: the value that replaces DRAWN.
    """

    book: Grader
    number: int
    value: float

    @property
    def change(self) -> str:
        """A sentence about the change, for the learner."""
        return self.changed(self.value)[0].sentence

    @cached_property
    def named(self) -> Sequence[Mistake]:
        """The answer without the change, those to other variants, the mistakes of this variant, and
        those of the original exercise that still apply, in this order."""
        change, *own = self.changed(self.value)
        others = [self.changed(value)[0] for value in self.values if value != self.value]
        source = inspect.getsource(self.reference)

        def instead(pieces: list[str], sentence: str) -> Mistake:
            edits = zip((new for _, new in change.edits), pieces, strict=True)
            return Mistake("", tuple(edits), "", f"{sentence} {change.sentence}")

        plain = [old for old, _ in change.edits]
        return [
            instead(plain, "This is the exercise without its change. It reads:"),
            *(
                instead(
                    [new for _, new in other.edits],
                    "This answers another variant of the exercise. Yours reads:",
                )
                for other in others
            ),
            *own,
            *(mistake for mistake in self.book.named if _fits_in(mistake, source)),
        ]


def _fits_in(mistake: Mistake, source: str) -> bool:
    try:
        edited(source, mistake.edits)
    except ValueError:
        return False
    return True


def random(seed: int, *shape: int) -> Tensor:
    """Draw random numbers around 0, the same for the same seed."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def idle(x: Tensor) -> Tensor:
    """x [..., position, d] with 0 at position 1: its scores are 0, which some answers take for masked."""
    x = x.clone()
    x[..., 1, :] = 0
    return x


def built(
    made: Callable[..., Any], config: Any, wanted: dict[str, tuple[int, ...]], like: Tensor
) -> nn.Module:
    """Create an object of a learner's class. Its weights depend only on their names, so two classes
    with the same names compute with the same weights.

    Args:
        made: the class.
        wanted: names and shapes of the weights that it must have.
        like: a tensor of the dtype to compute in.

    Raises:
        Unfit: the object is not a module, or its weights have other names or shapes.
    """
    import torch

    module = made(config)
    if not isinstance(module, torch.nn.Module):
        raise Unfit(
            f"It made a {type(module).__name__}, not a module: write `class …(nn.Module):`, with "
            "`super().__init__()` as the first line of `__init__`."
        )
    found = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
    _fits(module, found, wanted)
    module.to(like.dtype).eval()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(numbers(name, weight.shape))
    return module


def computing(weights: Callable[[Any], dict[str, tuple[int, ...]]]) -> Callable[..., Any]:
    """Return a `use` for a Grader of a class: create an object from a config, with the weights that
    `weights(config)` names, and call it with the other arguments of a case."""

    def use(made: Callable[..., Any], config: Any, *inputs: Tensor) -> Any:
        return built(made, config, weights(config), inputs[0])(*inputs)

    return use


def tied(made: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a class of models to require that the head has the embedding's weights."""
    from torch import nn

    def checked(config: Any) -> Any:
        module = made(config)
        if isinstance(module, nn.Module):
            table, head = getattr(module, "embedding", None), getattr(module, "head", None)
            if not isinstance(head, nn.Linear):
                raise Unfit("It has no `head`: `self.head = nn.Linear(…, bias=False)`.")
            if getattr(table, "weight", None) is not head.weight:
                raise Unfit(
                    "The head has weights of its own. Tie it to the embedding: "
                    "`self.head.weight = self.embedding.weight`."
                )
        return module

    return checked


def numbers(name: str, shape: Sequence[int]) -> Tensor:
    """Draw fp64 weights that depend only on a name: gains around 1, the others around 0."""
    import torch

    drawn = torch.randn(
        tuple(shape),
        generator=torch.Generator().manual_seed(crc32(name.encode())),
        dtype=torch.float64,
    )
    is_gain = "norm" in name and name.endswith("weight")
    return 1 + 0.3 * drawn if is_gain else 0.4 * drawn


def _fits(module: nn.Module, found: dict, wanted: dict) -> None:
    lacking = [name for name in wanted if name not in found]
    if lacking:
        kept = [name for name, value in vars(module).items() if isinstance(value, list) and value]
        lists = (
            f" `self.{kept[0]}` is a plain list: torch finds only what is in an `nn.ModuleList`."
            if kept
            else ""
        )
        there = ", ".join(f"`{name}`" for name in found) or "none"
        raise Unfit(f"It has no weights `{lacking[0]}`.{lists} Its weights are: {there}.")
    for name, shape in found.items():
        if name not in wanted:
            raise Unfit(
                f"It has weights `{name}` of shape {list(shape)}, which it should not have: it needs "
                f"{', '.join(f'`{n}`' for n in wanted)} and no others."
            )
        if shape != wanted[name]:
            raise Unfit(
                f"Its weights `{name}` have shape {list(shape)}; the shape should be {list(wanted[name])}."
            )
