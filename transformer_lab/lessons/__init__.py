"""Helpers that the notebooks import: presets, exercises, checks, claims and figures.

Nothing here is about transformers. The notebook has all the code that a lesson is about; this package
has the plumbing that lessons share (one tagged cell of parameters, a check that says what went wrong, a
claim that fails the notebook if it is false).
"""

from transformer_lab.lessons.claims import Claim, ClaimFailed, claim
from transformer_lab.lessons.exercises.checking import CheckResult, check
from transformer_lab.lessons.exercises.earlier import Earlier, earlier
from transformer_lab.lessons.exercises.exercise import Exercise, exercise
from transformer_lab.lessons.predict import Prediction, predict
from transformer_lab.lessons.presets import Lesson, presets
from transformer_lab.lessons.progress import Progress, progress
from transformer_lab.lessons.runner import NotebookFailed, UnknownParameter, run_notebook

__all__ = [
    "CheckResult",
    "Claim",
    "ClaimFailed",
    "Earlier",
    "Exercise",
    "Lesson",
    "NotebookFailed",
    "Prediction",
    "Progress",
    "UnknownParameter",
    "check",
    "claim",
    "earlier",
    "exercise",
    "predict",
    "presets",
    "progress",
    "run_notebook",
]
