"""What the notebooks import to stay short: presets, exercises, checks, claims and pictures.

Nothing here is about transformers. A lesson writes its subject out in the notebook; the plumbing
that every lesson shares (one tagged cell of parameters, a check that says what went wrong, a claim
that fails the notebook when it is false) lives in this package.
"""

from transformer_lab.lessons.claims import Claim, ClaimFailed, claim
from transformer_lab.lessons.exercises.checking import CheckResult, check
from transformer_lab.lessons.exercises.exercise import Exercise, exercise
from transformer_lab.lessons.presets import Lesson, presets
from transformer_lab.lessons.progress import Progress, progress
from transformer_lab.lessons.runner import (
    NotebookFailed,
    UnknownParameter,
    run_notebook,
)

__all__ = [
    "CheckResult",
    "Claim",
    "ClaimFailed",
    "Exercise",
    "Lesson",
    "NotebookFailed",
    "Progress",
    "UnknownParameter",
    "check",
    "claim",
    "exercise",
    "presets",
    "progress",
    "run_notebook",
]
