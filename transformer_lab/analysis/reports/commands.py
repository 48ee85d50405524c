"""The command `transformer-lab report`."""

from __future__ import annotations

from pathlib import Path

import click

from ...files.options import FilledPath


@click.command()
@click.argument("file", type=FilledPath(path_type=Path))
@click.option("--model", metavar="NAME_OR_FOLDER", help="Where the model is now, if it has moved.")
@click.option(
    "--tolerance",
    default=1e-4,
    show_default=True,
    help="The largest difference allowed; relative for numbers above 1.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps or auto.")
@click.pass_context
def report(
    ctx: click.Context, file: Path, model: str | None, tolerance: float, device: str
) -> None:
    """Compute a finding again from the JSON that tl.report wrote, and report what differs.

    Exits 0 if weights, words and numbers are the same, 1 if not, and 2 if it could not be computed.

    \b
    Examples:
      transformer-lab report finding.json
      transformer-lab report finding.json --model ./my-model --tolerance 1e-3
    """
    from .reproduce import again

    if not tolerance >= 0:
        raise ValueError(f"--tolerance must be a number of at least 0, got {tolerance}")
    found = again(file, model=model, device=device, tolerance=tolerance)
    for line in found.lines():
        click.echo(line)
    if not found.same:
        ctx.exit(1)
