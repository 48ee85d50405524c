"""The command line: transformer-lab explore · train · progress · assignment · grade. The library returns; this prints."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from . import __version__

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Group(click.Group):
    """Turns the errors that are meant for people into one line and exit code 2."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except (ValueError, OSError, ImportError, MemoryError, FloatingPointError) as error:
            if ctx.obj and ctx.obj.get("traceback"):
                raise
            click.echo(f"transformer-lab: {_one_line(error)}", err=True)
            ctx.exit(2)


def _one_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split())


@click.group(cls=_Group, context_settings=_HELP)
@click.version_option(__version__, prog_name="transformer-lab")
@click.option("--traceback", is_flag=True, help="Show where in the code an error arose.")
@click.pass_context
def main(ctx: click.Context, traceback: bool) -> None:
    """Train, trace and touch transformers."""
    ctx.obj = {"traceback": traceback}


@main.command()
@click.option(
    "--model",
    default="shipped",
    show_default=True,
    metavar="NAME_OR_FOLDER",
    help="The small model that comes along; 'minilm' or 'smollm2-135m' after `make models`; a "
    "folder; or any causal, masked or encoder-decoder model of the Hugging Face hub.",
)
@click.option("--text", help="What the model reads. Default: an example that fits the model.")
@click.option("--target", help="What an encoder-decoder writes. Default: its own greedy answer.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one self-contained interactive page, and open nothing.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps or auto.")
def explore(
    model: str, text: str | None, target: str | None, html: Path | None, device: str
) -> None:
    """Type a text, look at the heads, switch them off, see what changes.

    \b
    Examples:
      transformer-lab explore
      transformer-lab explore --text "def f(x): return x"
      transformer-lab explore --model smollm2-135m --text "John gave a drink to"
      transformer-lab explore --model ./my-model --html heads.html
      transformer-lab explore --model Helsinki-NLP/opus-mt-en-de --text "A dog." --target "Ein Hund."
    """
    from .explore import explore as show
    from .explore import is_at_hand, notebook_folder, write_notebook
    from .text_model import TextModel

    if text is not None and not text.strip():
        raise ValueError("--text is empty; type at least one word")
    if not model.strip():
        raise ValueError("--model is empty; leave it out for the small model that comes along")
    if html is None:
        if is_at_hand(model):  # say now what the notebook would say later
            show(TextModel.from_pretrained(model), text, target)
        name = str(Path(model).resolve()) if Path(model).is_dir() else model
        path = write_notebook(name, text, target, notebook_folder())
        click.echo(f"Opening {path} in JupyterLab; stop it with Ctrl-C.")
        sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(path)]))
    _can_write("--html", html)
    loaded = TextModel.from_pretrained(model, device=device)
    show(loaded, text, target).save_html(html)
    click.echo(f"Wrote {html} ({html.stat().st_size / 2**20:.1f} MiB). It needs no network.")


def _can_write(option: str, path: Path) -> None:
    """Say now what would be said after minutes of computing."""
    if not path.parent.is_dir():
        raise ValueError(f"{option} {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder; name a file such as heads.html")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(
            f"{option} {path}: the folder {path.parent} cannot be written to ({error.strerror}); "
            "name a file in a folder of your own"
        ) from error


@main.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint of the run.")
def train(config: Path, resume: bool) -> None:
    """Train a model as a TOML file says.

    \b
    Examples:
      transformer-lab train examples/manual.toml
      transformer-lab train examples/manual.toml --resume
      torchrun --nproc-per-node 2 -m transformer_lab train examples/manual.toml
    """
    from .train import TrainingStopped
    from .train_config import run_from_config

    try:
        run = run_from_config(config, resume=resume)
    except TrainingStopped as stopped:
        click.echo(f"{stopped}. Go on with: transformer-lab train {config} --resume", err=True)
        sys.exit(130)
    click.echo(
        f"Kept in {run.folder}; see its heads: transformer-lab explore --model {run.folder / 'model'}"
    )


@main.command()
def progress() -> None:
    """Say which exercises of the course are solved."""
    from .lessons import progress as mine

    click.echo(repr(mine()))


@main.command()
@click.argument("lessons", nargs=-1, metavar="LESSON…", required=True)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The course folder; made if it is not there.",
)
def assignment(lessons: tuple[str, ...], out: Path) -> None:
    """Make graded homework of lessons: an nbgrader course folder with source and release.

    \b
    Examples:
      transformer-lab assignment 01 --out course
      transformer-lab assignment 02 03 06 --out course
    """
    from .lessons.assignment import make_assignment

    course = make_assignment(lessons, out)
    click.echo(
        f"Wrote {course}: give students what is in release/, put what they hand in into "
        f"submitted/STUDENT/ASSIGNMENT/, then: transformer-lab grade {course} ASSIGNMENT"
    )


@main.command()
@click.argument("course", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name", metavar="ASSIGNMENT")
@click.option("--seconds", default=900.0, show_default=True, help="Time limit for one student.")
@click.option("--no-box", is_flag=True, help="Grade without bubblewrap, where you trust everybody.")
def grade(course: Path, name: str, seconds: float, no_box: bool) -> None:
    """Grade what students handed in, each in a box without a network.

    \b
    Example:
      transformer-lab grade course 01_attention_by_hand
    """
    from .lessons.grading_box import grade_course

    for one in grade_course(course, name, seconds=seconds, boxed=not no_box):
        reached = f"failed: {one.note}" if one.score is None else f"{one.score:g} of {one.most:g}"
        click.echo(f"{one.student}: {reached}")
    click.echo(f"Scores are in {course / f'grades-{name}.csv'}, feedback in {course / 'feedback'}.")
