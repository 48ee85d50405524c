"""Check a notebook's one cell of parameters and give the other cells its settings."""

from __future__ import annotations

import difflib
import os
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from transformer_lab.arguments import check, shown
from transformer_lab.files.resources import runs_folder
from transformer_lab.lessons.cards import Card, Shown

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PRESETS = ("full", "quick")
ANSWERS = ("learner", "solutions")
LANGUAGES = ("en", "de")
PARAMETERS = ("preset", "device", "seed", "answers", "variant")
FINISHED = "application/vnd.transformer-lab.finished+json"


@dataclass(frozen=True, repr=False)
class Lesson(Shown):
    """The settings of one run of one notebook, checked.

    Attributes:
        number: "00", "00b", "01", …: the notebook's number.
        preset: "full" for people, "quick" for tests.
        device: where to compute, a torch.device.
        seed: a non-negative integer; torch's generator was seeded with it.
        answers: "learner" (the functions written in the notebook) or "solutions" (ours).
        shown: the cards of predictions in the notebook, by name and whether they have a result.
        language: "en" or "de": the language of the cards of predictions.
        note: a problem with the kernel or folder, and what to do about it; "" if there is none.
        variant: which variant of its exercises is checked, 0 for the exercises as they are in the lesson.
    """

    number: str
    preset: str
    device: torch.device
    seed: int
    answers: str
    language: str = "en"
    note: str = ""
    _thread_errors: list[str] = field(default_factory=list, compare=False)
    shown: dict[tuple[str, bool], Any] = field(default_factory=dict, compare=False)
    variant: int = 0

    @property
    def quick(self) -> bool:
        return self.preset == "quick"

    def pick(self, *, full: T, quick: T) -> T:
        """The value for this run's preset, for instance `lesson.pick(full=400, quick=60)`."""
        return quick if self.quick else full

    def finish(self) -> Finished:
        """The last cell's output, whose invisible part lets a test check that the run got there.

        Raises:
            RuntimeError: a background thread failed during the run, or a cell asked to exit.
        """
        if self._thread_errors:
            raise RuntimeError(f"a background thread failed: {'; '.join(self._thread_errors)}")
        if getattr(_shell(), "exit_now", False):
            raise RuntimeError(
                "a cell called exit(); remove the call, restart the kernel and run all cells"
            )
        return Finished(self.number)

    def card(self) -> Card:
        """The settings; and where the learner stopped, if the answers are the learner's."""
        from transformer_lab.lessons.progress import progress

        who = {"learner": "your answers", "solutions": "our solutions"}[self.answers]
        title = f"Lesson {self.number} · preset {self.preset} · device {self.device} · {who}"
        title += f" · variant {self.variant}" if self.variant else ""
        lines = [self.note] if self.note else []
        if self.answers == "learner":
            lines += progress().in_lesson(self.number)
        return Card("wait" if self.note else "info", title, lines, aside=f"seed {self.seed}")


@dataclass(frozen=True, repr=False)
class Finished(Shown):
    """The end of a lesson that ran from top to bottom."""

    number: str

    def card(self) -> Card:
        from transformer_lab.lessons.graders import exercises_of
        from transformer_lab.lessons.progress import progress

        mine = progress()
        here = [f"{self.number}/{name}" for name in exercises_of(self.number)]
        done = sum(name in mine.solved for name in here)
        text = f"You have solved {done} of its {len(here)} exercises, and {mine.done()} of {len(mine.known)} in the course."
        if len(here) == 1:
            text = (
                f"Its one exercise is {'solved' if done else 'still open'}; in the course, "
                f"you have solved {mine.done()} of {len(mine.known)}."
            )
        return Card("good", f"Lesson {self.number} ran to its end.", [text] if here else [])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_()
        return {**bundle, FINISHED: {"lesson": self.number}}


def _refuse(name: str, value: object, known: tuple[str, ...]) -> ValueError:
    close = difflib.get_close_matches(shown(value), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ValueError(f"{name} must be {' or '.join(map(repr, known))}, got {shown(value)}{hint}")


def presets(
    lesson: str,
    *,
    preset: str = "full",
    device: str = "auto",
    seed: int = 0,
    answers: str = "learner",
    language: str = "en",
    variant: int | None = 0,
    **unknown: object,
) -> Lesson:
    """Check the parameters of a notebook and return its settings.

    Args:
        lesson: the notebook's number, such as "01".
        preset: "full" (for people) or "quick" (a test run of some 20 seconds).
            The environment variable TRANSFORMER_LAB_PRESET overrides it.
        device: "auto", "cpu", "cuda" or "mps".
        seed: a non-negative integer; seeds torch.
        answers: "learner", or "solutions" to use our solutions instead of the learner's.
        language: "en" or "de": the language of a translated lesson's cards of predictions.
        variant: which variant of the exercises is checked, as `transformer-lab assignment --variant`
            writes it; 0 or None for the exercises as they are in the lesson.

    Raises:
        TypeError: for an unknown parameter, suggesting the nearest known one.
        ValueError: for an unknown value, listing the known ones, and for a variant of a lesson that
            has none.
    """
    if unknown:
        name = next(iter(unknown))
        close = difflib.get_close_matches(name, PARAMETERS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise TypeError(f"unknown parameter {name!r}: there are {', '.join(PARAMETERS)}{hint}")
    preset = os.environ.get("TRANSFORMER_LAB_PRESET", preset)  # grading sets it to quick
    for name, value in (("preset", preset), ("answers", answers)):
        check(name, value, str)
    if preset not in PRESETS:
        raise _refuse("preset", preset, PRESETS)
    if answers not in ANSWERS:
        raise _refuse("answers", answers, ANSWERS)
    if language not in LANGUAGES:
        raise _refuse("language", language, LANGUAGES)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be a whole number, 0 or more, got {shown(seed)}")

    import torch

    from transformer_lab.lessons.graders import variant_number
    from transformer_lab.model import pick_device

    number = variant_number(variant, str(lesson))
    torch.manual_seed(seed)
    shell = _shell()
    note = _odd(str(lesson), shell)
    made = Lesson(
        str(lesson), preset, pick_device(device), seed, answers, language, note, variant=number
    )
    _watch_threads(made)
    if shell is not None:
        shell.set_custom_exc((NameError,), _explain_name)
    return made


def _shell() -> Any:
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def _odd(number: str, shell: Any) -> str:
    """A note on problems: another lesson's kernel, or a folder that is not writable."""
    notes = []
    before = shell.user_ns.get("lesson") if shell is not None else None
    if isinstance(before, Lesson) and before.number != number:
        notes.append(
            f"This kernel ran lesson {before.number} before, and still has its variables: choose "
            "Kernel ▸ Restart Kernel and Run All Cells."
        )
    folder = runs_folder()
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(place, os.W_OK):
        notes.append(
            f"{place} is not writable, so progress and runs cannot be saved: move the course to a "
            "folder of your own, or set TRANSFORMER_LAB_RUNS to one."
        )
    return " ".join(notes)


def _explain_name(shell: Any, kind: type, error: BaseException, trace: Any, tb_offset=None) -> None:
    """Show a NameError as usual, with a hint: in a notebook it mostly means a cell that was not
    run."""
    name = getattr(error, "name", None) or str(error).split("'")[1:2]
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    print(
        f"{name if isinstance(name, str) else ''.join(name)} is defined in a cell above that has "
        "not run since the kernel started, or was renamed there: Run ▸ Run All Above Selected Cell.",
        file=sys.stderr,
    )


def _watch_threads(lesson: Lesson) -> None:
    """Record exceptions in threads, which Python only prints, so that the last cell can fail."""
    before = getattr(threading.excepthook, "before", threading.excepthook)

    def hook(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_type is not SystemExit:
            lesson._thread_errors.append(f"{failure.exc_type.__name__}: {failure.exc_value}")
        before(failure)

    hook.before = before  # type: ignore[attr-defined]  # so that a rerun cell replaces, not stacks
    threading.excepthook = hook
