"""Texts whose words are shaded by a number: still (`marked`) and with choices (`Lookup`)."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformer_lab.lessons.cards import prose
from transformer_lab.lessons.pictures.numbers import as_array, spelt
from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.themes import Theme, ink, rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARACTER = 6.03 / 72  # inches that one character of 10-point DejaVu Sans Mono is wide
LINE = 0.27  # inches from one line of words to the next


def marked(
    panels: dict[str, tuple[Sequence[str], Any]],
    *,
    alt: str,
    caption: str = "",
    columns: int = 76,
    limit: float | None = None,
) -> Picture:
    """Texts one below the other, each word shaded in proportion to its number, from the page's
    colour for 0.

    Args:
        panels: the panel's title to (words, numbers), one number per word, from 0 to `limit`.
        columns: characters per line.
        limit: the number with the strongest shade; the largest of all by default.

    Raises:
        ValueError: a panel does not have one number per word.
    """
    texts = {name: (list(words), as_array(numbers)) for name, (words, numbers) in panels.items()}
    for name, (words, numbers) in texts.items():
        if numbers.shape != (len(words),):
            raise ValueError(
                f"panel {name!r} has {len(words)} words but numbers of shape {list(numbers.shape)}; "
                "give one number per word"
            )
    most = limit or max((float(n.max()) for _, n in texts.values() if len(n)), default=1.0) or 1.0

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        places = {name: _wrapped(words, columns) for name, (words, _) in texts.items()}
        lines = sum(rows + 1.6 for _, rows in places.values()) - 0.4
        width, height = columns * CHARACTER, lines * LINE
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, columns)
        axes.set_ylim(lines, 0)
        axes.axis("off")
        top = 0.0
        for name, (words, numbers) in texts.items():
            axes.text(0, top + 0.5, name, va="center", fontsize=10.5, color=theme.text)
            spots, rows = places[name]
            for word, number, (column, row) in zip(words, numbers, spots, strict=True):
                ground = rgb((theme.page, *theme.sequential[1:]), float(number) / most)
                y = top + 1.1 + row
                axes.add_patch(
                    Rectangle(
                        (column - 0.35, y + 0.06),
                        len(word) + 0.7,
                        0.88,
                        facecolor=ground,
                        edgecolor="none",
                    )
                )
                style: dict[str, Any] = dict(va="center", fontsize=10, family="DejaVu Sans Mono")
                style |= dict(color=ink(ground))
                axes.text(column, y + 0.52, word, **style)
            top += rows + 1.6
        return figure

    return Picture(draw, alt, caption)


def _wrapped(words: Sequence[str], columns: int) -> tuple[list[tuple[float, int]], int]:
    """(column, line) of each word, and the number of lines."""
    spots, column, row = [], 0.4, 0
    for word in words:
        if column > 0.4 and column + len(word) > columns - 0.4:
            column, row = 0.4, row + 1
        spots.append((column, row))
        column += len(word) + 1
    return spots, row + 1


_LOOK = """
.tl-lookup{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;
line-height:24px;max-width:860px;color:var(--jp-content-font-color1,inherit);margin:4px 0 8px 0}
.tl-lookup label{display:inline-block;padding:0 6px;margin:0 2px 4px 0;border-radius:4px;
border:1px solid var(--jp-border-color1,#8888);cursor:pointer;
font-family:var(--jp-code-font-family,ui-monospace,monospace)}
.tl-lookup input{position:absolute;opacity:0}
.tl-lookup input:checked+label{border-color:#b4530a;box-shadow:inset 0 0 0 1px #b4530a}
.tl-lookup input:focus-visible+label{outline:2px solid #3f80ea;outline-offset:2px}
.tl-lookup .tl-text{display:none;font-family:var(--jp-code-font-family,ui-monospace,monospace)}
.tl-lookup .tl-text div{font-family:var(--jp-ui-font-family,system-ui,sans-serif)}
.tl-lookup .tl-text b{font-weight:400;border-radius:2px;padding:2px 1px;
background:color-mix(in srgb,#3f80ea calc(var(--w)*62%),transparent)}
.tl-lookup figcaption{line-height:20px;margin-top:4px}
"""


class Lookup:
    """Choices, and a text that is shaded for the chosen one; no JavaScript, so it works anywhere
    that HTML is shown. Click a choice, or Tab to it and use the arrow keys.

    Args:
        choices: labels to choose from: the words of a summary, questions.
        words: the text; or one text per choice, all of the same length.
        weights: [choice, word], 0 to 1.
        told: for each choice, a sentence shown below the text.
        caption: the finding, below everything.
        alt: what the text shows, for screen readers.
        first: the index of the initial choice.

    Raises:
        ValueError: the shape of `weights`, or a number of texts or sentences, does not match.
    """

    def __init__(
        self,
        choices: Sequence[str],
        words: Sequence[str] | Sequence[Sequence[str]],
        weights: Any,
        *,
        alt: str,
        told: Sequence[str] = (),
        caption: str = "",
        first: int = 0,
    ):
        one = all(isinstance(word, str) for word in words)
        self.choices, self.weights = list(choices), as_array(weights)
        self.texts: list[list[str]] = [[str(word) for word in words]] * len(self.choices)
        if not one:
            self.texts = [list(text) for text in words]
        self.told, self.caption, self.alt, self.first = list(told), caption, alt, first
        lengths = {len(text) for text in self.texts}
        if len(self.texts) != len(self.choices) or len(lengths) > 1:
            raise ValueError(
                f"words has {len(self.texts)} texts of {sorted(lengths)} words for "
                f"{len(self.choices)} choices; give one text, or one per choice, all of equal length"
            )
        wanted = (len(self.choices), *lengths) if lengths else (0, 0)
        if self.weights.shape != wanted:
            raise ValueError(
                f"weights has shape {list(self.weights.shape)}; it must be {list(wanted)}: "
                "one row per choice, one column per word"
            )
        if self.told and len(self.told) != len(self.choices):
            raise ValueError(
                f"got {len(self.told)} sentences for {wanted[0]} choices; give one per choice"
            )
        if not 0 <= first < max(len(self.choices), 1):
            raise ValueError(f"first={first} is outside the {len(self.choices)} choices")

    def html(self) -> str:
        facts = repr((self.choices, self.texts, self.weights.tolist(), self.told))
        name = "tl" + hashlib.sha256(facts.encode()).hexdigest()[:10]
        inputs, texts, rules = [], [], []
        for i, choice in enumerate(self.choices):
            checked = " checked" if i == self.first else ""
            inputs.append(
                f'<input type="radio" name="{name}" id="{name}-{i}"{checked}>'
                f'<label for="{name}-{i}">{html.escape(choice)}</label>'
            )
            told = f"<div>{prose(spelt(self.told[i]))}</div>" if self.told else ""
            texts.append(f'<div class="tl-text t{i}">{self._text(i)}{told}</div>')
            rules.append(f"#{name}-{i}:checked~.t{i}{{display:block}}")
        caption = f"<figcaption>{prose(spelt(self.caption))}</figcaption>" if self.caption else ""
        return (
            f"<style>{_LOOK}{''.join(rules)}</style>"
            f'<figure class="tl-lookup"><div role="group" aria-label="{html.escape(self.alt)}">'
            f"{''.join(inputs)}{''.join(texts)}</div>{caption}</figure>"
        )

    def _text(self, choice: int) -> str:
        parts = []
        for word, weight in zip(self.texts[choice], self.weights[choice], strict=True):
            written = html.escape(word)
            shade = min(max(float(weight), 0.0), 1.0)
            # Words with hardly any weight stay plain: a smaller page, and less to wade through.
            parts.append(
                f'<b style="--w:{shade:.2f}" title="{shade:.2f}">{written}</b>'
                if shade >= 0.02
                else written
            )
        return " ".join(parts)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        lines = [f"[{self.alt}]"]
        for i, choice in enumerate(self.choices):
            best = sorted(range(len(self.texts[i])), key=lambda j: -self.weights[i, j])[:3]
            seen = ", ".join(f"{self.texts[i][j]} {self.weights[i, j]:.2f}" for j in best)
            lines.append(f"{choice}: {seen}" + (f" ({self.told[i]})" if self.told else ""))
        return "\n".join([*lines, self.caption] if self.caption else lines)
