"""Shared by all commands: paths that are not empty, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

_LONGEST = 1500  # characters of a message, which may quote an input as long as a book


def shortened(text: str) -> str:
    """Return a message on one line, cut if it is very long."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class FilledPath(click.Path):
    """A path that is not empty: pathlib reads "" as the current folder."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not str(value).strip():
            self.fail("the path is empty; name a file or a folder", param, ctx)
        return super().convert(value, param, ctx)


class _UnfitArguments(click.ClickException):
    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"transformer-lab: {self.message}", err=True)


@contextmanager
def usage_in_one_line() -> Iterator[None]:
    """Report click's own errors like every other error, instead of in three lines."""
    try:
        yield
    except click.UsageError as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            raise
        path = error.ctx.command_path if error.ctx else "transformer-lab"
        text = f"{error.format_message()} ({path} --help shows more)"
        raise _UnfitArguments(shortened(text)) from None
