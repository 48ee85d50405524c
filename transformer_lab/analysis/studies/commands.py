"""The command `transformer-lab study`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ...files.options import FilledPath
from ...files.text_files import check_writable


@click.command()
@click.argument("prompts", type=FilledPath(path_type=Path))
@click.option(
    "--model",
    default="shipped",
    show_default=True,
    metavar="NAME_OR_FOLDER",
    help="A text model, as in `explore`.",
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="patching, effects, estimates, scores, or a head score such as induction; repeat the option "
    "for several. Default: patching if every prompt has a corrupted one, otherwise effects.",
)
@click.option(
    "--metric", metavar="NAME", help="The metric of effects: log_prob, probability or kl."
)
@click.option("--site", "sites", multiple=True, help="A site to patch: z, resid_pre, attn_out, q …")
@click.option(
    "--exact", is_flag=True, help="Patch every cell instead of estimating all of them at once."
)
@click.option("--noising", is_flag=True, help="Patch from the corrupted run into the clean one.")
@click.option(
    "--last", is_flag=True, help="In residual-stream sites, patch only the last position."
)
@click.option(
    "--out",
    type=FilledPath(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save results as they come; the same command later continues from there.",
)
@click.option(
    "--save",
    type=FilledPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the table as .csv, or everything as .json.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap over prompts.")
@click.option("--batch-size", type=click.IntRange(1), help="The most prompts in one forward pass.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps or auto.")
def study(
    prompts: Path,
    model: str,
    measures: tuple[str, ...],
    metric: str | None,
    sites: tuple[str, ...],
    exact: bool,
    noising: bool,
    last: bool,
    out: Path | None,
    save: Path | None,
    seed: int,
    batch_size: int | None,
    device: str,
) -> None:
    """Measure every prompt of a file: mean, spread and interval of each head or cell.

    PROMPTS is a .txt file with one text a line, or a .jsonl, .csv or .tsv file with the columns
    clean, corrupted, answer, wrong and target, of which only clean is required.

    \b
    Examples:
      transformer-lab study texts.txt --measure induction
      transformer-lab study pairs.csv --model smollm2-135m --site z --out results --save heads.csv
      torchrun --nproc-per-node 2 -m transformer_lab study pairs.csv --out results
    """
    if save is not None:
        check_writable("--save", save, "heads.csv")
        if save.suffix.lower() not in (".csv", ".json"):
            raise ValueError(
                f"--save must end in .csv or .json, got {save}; name a file such as heads.csv"
            )

    # Imported here, since they load torch for seconds, which a rejected call does not need.
    from ...text_model import TextModel
    from ...training import distributed
    from .run import study as run

    where, joined = distributed.join(device)
    try:
        loaded = TextModel.from_pretrained(model, device=str(where))
        more: dict[str, Any] = {"at": "last"} if last else {}
        found = run(
            loaded,
            prompts,
            measure=measures or None,
            metric=metric,
            sites=sites or None,
            by="exact" if exact else "attribution",
            direction="noising" if noising else "denoising",
            out=out,
            seed=seed,
            batch_size=batch_size,
            progress=True,
            **more,
        )
    finally:
        if joined:
            distributed.leave()
    if os.environ.get("RANK", "0") != "0":
        return
    click.echo(found.sentence)
    if save is not None:
        click.echo(f"Wrote {found.save(save)}.")
    if out is not None:
        click.echo(f"The results of each prompt are in {out}.")
