"""The architecture of a transformer as one drawing, with tensor shapes and one part highlighted.

The lessons show its files, notebooks/images/architecture-….svg. `python -m docs.make_diagrams` writes them.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from transformer_lab.arguments import shown, unknown
from transformer_lab.config import MODEL_KINDS, ModelConfig, check_known
from transformer_lab.lessons.pictures.picture import STYLE
from transformer_lab.lessons.pictures.themes import DARK, LIGHT, Theme
from transformer_lab.positions import Learned, NoPositions, Rotary, Sinusoidal

FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans Condensed', sans-serif"


@cache
def catalogue() -> dict[str, dict]:
    """The words of the drawing, by language."""
    return json.loads(Path(__file__).with_name("diagram.json").read_text("utf-8"))


@dataclass(frozen=True, repr=False)
class Diagram:
    """A drawing with its alt text. `parts` are the names that `architecture` highlights in it."""

    alt: str
    parts: tuple[str, ...]
    width: int
    height: int
    body: str

    def svg(self, theme: Theme | None = None) -> str:
        """An SVG document in the colours of a theme; without one, in those of the surrounding
        page."""
        colours = _colours(theme or LIGHT)
        if theme is None:
            colours += f"\n@media (prefers-color-scheme:dark){{{_colours(DARK)}}}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 {-self.height} {self.width} {self.height}" role="img" font-family="{FONT}">\n'
            f"<title>{html.escape(self.alt)}</title>\n<style>{_SIZES}\n{colours}</style>\n"
            f'<rect class="page" y="{-self.height}" width="{self.width}" height="{self.height}"/>\n'
            f"{self.body}\n</svg>\n"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        images = "".join(
            f'<img class="tl-{theme.name}"{hidden} alt="{html.escape(self.alt)}" src="data:image/'
            f'svg+xml;base64,{base64.b64encode(self.svg(theme).encode()).decode("ascii")}">'
            for theme, hidden in ((LIGHT, ""), (DARK, ' style="display:none"'))
        )
        return {
            "text/html": f'{STYLE}<figure class="tl-picture" style="margin:4px 0">{images}</figure>',
            "text/plain": repr(self),
        }

    def __repr__(self) -> str:
        return f"[picture: {self.alt}]"


def architecture(
    part: str | None = None,
    *,
    kind: str | None = None,
    config: ModelConfig | None = None,
    language: str = "en",
) -> Diagram:
    """Draw a transformer with its tensor shapes, and highlight one part of it.

    Args:
        part: what to highlight, such as "scores", "heads", "positions", "block" or "loss".
        kind: "decoder", "encoder" or "encoder-decoder"; by default that of `config`, or
            "encoder-decoder".
        config: sizes and variants to draw: numbers instead of d_model, the kind and position of the
            norm, how positions enter. By default, a pre-norm model whose positions are added to the
            embeddings.
        language: "en" or "de".

    Raises:
        ValueError: for an unknown part (listing the known ones), kind or language, or a kind that
            differs from that of `config`.
    """
    check_known("language", language, tuple(catalogue()))
    if kind is None:
        kind = config.kind if config else "encoder-decoder"
    check_known("kind", kind, MODEL_KINDS)
    if config and config.kind != kind:
        raise ValueError(
            f"kind must be that of config, {config.kind!r}, got {kind!r}; leave it out"
        )
    if not isinstance(part, (str, type(None))):
        raise ValueError(f"part must be a name or None, got {shown(part)}")
    drawing = _Drawing(part, kind, config, catalogue()[language])
    width = drawing.pair() if kind == "encoder-decoder" else drawing.single()
    if part is not None and part not in drawing.parts:
        raise ValueError(
            f"part is not in the drawing of this {kind}: {unknown(part, drawing.parts)}"
        )
    return Diagram(
        alt=drawing.alt(),
        parts=tuple(drawing.parts),
        width=width,
        height=round(8 - drawing.highest),
        body="\n".join(drawing.elements),
    )


_SIZES = (
    "text{font-size:14px}.shape{font-size:12.5px}.small{font-size:13px}.end{text-anchor:end}"
    ".middle{text-anchor:middle}.name,.on .free{font-weight:700}"
    ".line{fill:none;stroke-width:1.4}.dashed{stroke-dasharray:5 4}.on .line{stroke-width:3}"
    ".box{stroke-width:1}.frame{stroke-width:1.2}.on .box,.on .frame{stroke-width:2.6}"
)


def _colours(theme: Theme) -> str:
    surface, chosen = ("#f5f7f9", "#dbe9f9") if theme is LIGHT else ("#22262c", "#283f5e")
    return (
        f".page{{fill:{theme.page}}}text{{fill:{theme.text}}}.shape{{fill:{theme.quiet}}}"
        f".box{{fill:{surface};stroke:{theme.quiet}}}.row{{fill:none}}"
        f".frame{{fill:none;stroke:{theme.quiet}}}.line{{stroke:{theme.quiet}}}"
        f".head{{fill:{theme.quiet}}}.on .box,.on .row{{fill:{chosen};stroke:{theme.accent}}}"
        f".on .frame,.on .line{{stroke:{theme.accent}}}.on .head{{fill:{theme.accent}}}"
        f".on .shape{{fill:{theme.text}}}"
    )


@dataclass
class _Column:
    """One stack of blocks: where it is, and how far up it is drawn. y grows downwards from 0."""

    x: float
    width: float
    bypass: float  # x of the lines past each sublayer
    wide: bool  # label and shape side by side
    layers: str
    vocab: str
    causal: bool
    y: float = -8
    branch: float = 0.0

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width


@dataclass
class _Drawing:
    part: str | None
    kind: str
    config: ModelConfig | None
    language: dict
    elements: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)  # with their shapes
    highest: float = 0.0
    cross: float = 0.0  # where the encoder's output arrives

    # ------------------------------------------------------------ words and sizes

    def word(self, key: str, **values: str) -> str:
        return self.language["drawing"][key].format(**values)

    def size(self, name: str, letter: str | None = None) -> str:
        return str(getattr(self.config, name)) if self.config else letter or name

    def heads(self, name: str = "n_heads") -> str:
        return self.size(name, "head")

    @property
    def stream(self) -> str:
        return f"[batch, position, {self.size('d_model')}]"

    @property
    def weights(self) -> str:
        return f"[batch, {self.heads()}, query, key]"

    def vectors(self, heads: str) -> str:
        return f"[batch, {heads}, position, {self.size('d_head')}]"

    def alt(self) -> str:
        spoken = {
            name: f"{self.language['parts'][name]} ({shape.strip('[]').replace(', ', ' × ').replace('[', '')})"
            for name, shape in self.parts.items()
            if shape
        }
        key, part = "alt_none", ""
        if self.part is not None:
            key = "alt_part"
            part = spoken.pop(self.part, self.language["parts"][self.part])
        usual = ("tokens", "residual", "scores", "unembedding")
        return self.language[key].format(
            kind=self.language["kinds"][self.kind],
            part=part,
            shapes="; ".join(spoken[name] for name in usual if name in spoken),
        )

    # ------------------------------------------------------------ marks

    @contextmanager
    def of(self, *parts: str, shape: str = "") -> Iterator[None]:
        """Group what is drawn inside under these parts, so that it is highlighted with each."""
        for part in parts:
            self.parts.setdefault(part, shape)
        on = ' class="on"' if self.part in parts else ""
        self.elements.append(f'<g data-part="{" ".join(parts)}"{on}>')
        yield
        self.elements.append("</g>")

    def rect(self, x: float, y: float, width: float, height: float, style: str, r: int = 5) -> None:
        self.elements.append(
            f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{r}"/>'
        )
        self.highest = min(self.highest, y)

    def text(self, x: float, y: float, words: str, style: str = "", turned: bool = False) -> None:
        name = f' class="{style}"' if style else ""
        turn = f' transform="rotate(90 {x:g} {y:g})"' if turned else ""
        words = html.escape(words, quote=False)
        self.elements.append(f'<text{name} x="{x:g}" y="{y:g}"{turn}>{words}</text>')

    def line(self, *points: tuple[float, float], head: bool = True, dashed: bool = False) -> None:
        """A line of vertical and horizontal pieces, with an arrowhead at its end."""
        (x0, y0), (x, y) = points[-2:]
        dx, dy = ((x > x0) - (x < x0), (y > y0) - (y < y0)) if head else (0, 0)
        ends = [*points[:-1], (x - 4 * dx, y - 4 * dy)]
        path = "M" + " L".join(f"{a:g} {b:g}" for a, b in ends)
        self.elements.append(f'<path class="line{" dashed" * dashed}" d="{path}"/>')
        if head:
            left, right = (
                f"{x - 7 * dx + side * 4 * dy:g} {y - 7 * dy + side * 4 * dx:g}" for side in (-1, 1)
            )
            self.elements.append(f'<path class="head" d="M{x:g} {y:g} L{left} L{right} Z"/>')

    # ------------------------------------------------------------ parts of a column

    def up(self, column: _Column, gap: float, *, head: bool = True) -> None:
        """Draw the line up from the last element."""
        self.line((column.middle, column.y), (column.middle, column.y - gap), head=head)
        column.y -= gap

    def box(self, column: _Column, words: str, shape: str = "", *, two_lines: bool = False) -> None:
        x, high = column.x, 38 if two_lines else 25
        column.y -= high
        self.rect(x, column.y, column.width, high, "box")
        if shape:
            self.text(x + 9, column.y + 17, words)
            place = (x + 9, column.y + 32, "shape") if two_lines else None
            x_shape, y, style = place or (column.right - 9, column.y + 17, "shape end")
            self.text(x_shape, y, shape, style)
        else:
            self.text(column.middle, column.y + 17, words, "middle")

    def plus(self, column: _Column, *, past: bool = True) -> None:
        """Draw an addition; with `past`, also the skip connection from the last branch."""
        column.y -= 18
        x, y = column.middle, column.y + 9
        if past:
            side = 9 if column.bypass > x else -9
            way = [
                (x, column.branch),
                (column.bypass, column.branch),
                (column.bypass, y),
                (x + side, y),
            ]
            self.line(*way)
        self.elements.append(f'<circle class="box" cx="{x:g}" cy="{y:g}" r="9"/>')
        self.line((x - 5, y), (x + 5, y), head=False)
        self.line((x, y - 5), (x, y + 5), head=False)

    def norm(self, column: _Column) -> None:
        with self.of("norm", shape=self.stream):
            self.box(column, self.word(self.config.norm if self.config else "layer"))

    def attention(self, column: _Column, name: str) -> None:
        """Draw an attention layer: a sheet for each of three heads, and its steps from bottom to
        top."""
        cross = name == "cross-attention"
        part = name if cross else "attention"
        rows = self.rows(column, cross)
        high = 23 + sum(32 if not column.wide and shape else 19 for _, _, shape in rows) + 3
        column.y -= high
        x, y = column.x, column.y
        self.cross = y + 11 if cross else self.cross
        with self.of("heads", shape=self.weights):
            for step in (8, 4):
                self.rect(x + step, y - step, column.width, high, "box")
        with self.of(part, shape=self.stream):
            self.rect(x, y, column.width, high, "box")
            self.text(x + 9, y + 17, self.word(name))
        with self.of("heads"):
            self.text(
                column.right - 9,
                y + 17,
                self.word("heads", n=self.size("n_heads", "h")),
                "shape end",
            )
        below = y + high - 3
        for row, words, shape in rows:
            tall = 32 if not column.wide and shape else 19
            below -= tall
            with self.of(row, shape=shape):
                self.rect(x + 4, below, column.width - 8, tall - 1, "row", 3)
                self.text(x + 9, below + 13.5, words, "small")
                if column.wide:
                    self.text(column.right - 9, below + 13.5, shape, "shape end")
                else:
                    self.text(x + 9, below + 27, shape, "shape")

    def rows(self, column: _Column, cross: bool) -> list[tuple[str, str, str]]:
        """The steps inside an attention layer, from bottom to top: (part, label, shape)."""
        scheme = self.config.positions if self.config and not cross else None
        added = isinstance(scheme, (Learned, NoPositions, Sinusoidal, type(None)))
        vectors, rows = self.vectors(self.heads()), []
        if column.wide:
            rows += [("projections", self.word("projections"), vectors)]
        if isinstance(scheme, Rotary):
            rows += [("positions", self.word("rotary"), vectors)]
        if column.wide and column.causal:
            pair = f"2 × {self.vectors(self.heads('n_kv_heads'))}"
            rows += [("cache", self.word("cache"), pair)]
        masked = column.causal and not cross and not column.wide
        rows += [("scores", self.word("masked scores" if masked else "scores"), self.weights)]
        if not added and not isinstance(scheme, Rotary):
            rows += [("positions", self.word("bias"), f"[{self.heads()}, query, key]")]
        if column.wide:
            mask = self.word("causal mask" if column.causal else "padding mask")
            rows += [("mask", mask, self.weights), ("output", self.word("merged"), self.stream)]
        return rows

    def input(self, column: _Column, tokens: str) -> None:
        """Draw tokens, their embeddings, and the positions that are added to them."""
        with self.of("tokens", shape="[batch, position]"):
            self.box(column, self.word(tokens), "[batch, position]", two_lines=not column.wide)
        self.up(column, 12)
        with self.of("embeddings", shape=self.stream):
            self.box(column, self.word("embeddings"), self.stream, two_lines=not column.wide)
        positions = self.config.positions if self.config else Sinusoidal()
        if isinstance(positions, (Learned, Sinusoidal)):
            self.up(column, 14)
            y = column.y
            with self.of("positions", shape=f"[position, {self.size('d_model')}]"):
                left = column.middle + (34 if column.wide else 22)
                wide, high = (
                    (column.right - left, 38) if column.wide else (column.right - left + 6, 22)
                )
                self.rect(left, y - 9 - high / 2, wide, high, "box")
                if column.wide:
                    self.text(left + 9, y - 11, self.word("positions"))
                    self.text(left + 9, y + 4, f"[position, {self.size('d_model')}]", "shape")
                else:
                    self.text(left + wide / 2, y - 4, self.word("positions"), "small middle")
                self.line((left, y - 9), (column.middle + 9, y - 9))
            self.plus(column, past=False)

    def blocks(self, column: _Column, sublayers: Sequence[str]) -> None:
        """Draw the residual stream through the blocks, in a frame."""
        first = not self.config or self.config.norm_first
        names = ("block", "decoder" if column.causal else "encoder")
        with self.of("residual", shape=self.stream):
            added = "positions" in self.parts  # their box leaves room for the words
            self.up(column, 30 if added else 46, head=False)
            words, side = self.word("residual"), -14 if column.wide else 7
            x, style = column.middle + side, " end" if column.wide else ""
            self.text(x, column.y + 21, words, "small free" + style)
            if column.wide:
                self.text(x, column.y + 36, self.stream, "shape end")
        bottom = column.y + 6
        for name in sublayers:
            with self.of("residual"):
                column.branch = column.y - 2
                self.up(column, 3, head=False)
            self.up(column, 11)
            if first:
                self.norm(column)
                self.up(column, 11)
            if name == "feed-forward":
                wide = f"[batch, position, {self.size('d_ff')}]"
                with self.of("feed-forward", shape=wide):
                    self.box(column, self.word("feed-forward"), wide if column.wide else "")
                self.up(column, 11)
            else:
                self.attention(column, name)
                column.y -= 8
                self.up(column, 11)
            with self.of("residual"):
                self.plus(column)
                if first:
                    self.up(column, 10, head=False)
            if not first:
                self.up(column, 11)
                self.norm(column)
                with self.of("residual"):
                    self.up(column, 10, head=False)
        if not first:
            self.up(column, 14, head=False)
        # The sheets of attention end 8 to the right of the column; the line past it is further out.
        edge = min(column.bypass, column.x) - 7
        far = max(column.bypass + 7, column.right + 14)
        with self.of(*names):
            self.rect(edge, column.y, far - edge, bottom - column.y, "frame", 9)
            words = self.word("block", n=column.layers)
            left = column.bypass > column.x
            place = (column.x, "small free") if left else (column.right, "small free end")
            self.text(place[0], column.y + 19, words, place[1])

    def output(self, column: _Column) -> None:
        """Draw the steps from the residual stream to the loss."""
        if not self.config or self.config.norm_first:
            self.up(column, 14)
            self.norm(column)
        if self.config and not self.config.head:
            self.up(column, 12)
            return self.box(column, self.word("states"))
        logits = f"[batch, position, {column.vocab}]"
        for name in ("unembedding", "probabilities"):
            self.up(column, 12)
            with self.of(name, shape=logits):
                both = column.wide or name == "unembedding"
                self.box(
                    column,
                    self.word(name),
                    logits if both else "",
                    two_lines=not column.wide and both,
                )
        self.up(column, 12)
        with self.of("loss"):
            targets = f"{self.word('targets')} [batch, position]"
            self.box(column, self.word("loss"), targets if column.wide else "")

    def loop(self, column: _Column, x: float, low: float) -> None:
        """Draw generation: a line from the probabilities around the stack to the tokens."""
        if "probabilities" not in self.parts:
            return
        high = column.y + 25 + 12 + 12.5
        with self.of("generation"):
            self.line((column.right, high), (x, high), (x, low), (column.right, low), dashed=True)
            self.text(
                x + 8, (high + low) / 2, self.word("generation"), "small free middle", turned=True
            )

    # ------------------------------------------------------------ drawings

    def single(self) -> int:
        """Draw a decoder or an encoder in one column; return the width."""
        causal = self.kind == "decoder"
        column = _Column(
            28, 344, 15, True, self.size("n_layers", "N"), self.size("vocab_size", "vocab"), causal
        )
        self.input(column, "tokens")
        only = self.config and self.config.attention_only
        self.blocks(column, ["self-attention", *(() if only else ("feed-forward",))])
        self.output(column)
        if causal:
            self.loop(column, 402, -8 - 12.5)
        return 432 if causal else 394

    def pair(self) -> int:
        """Draw an encoder on the left, whose output the decoder on the right reads; return the
        width."""
        config = self.config
        only = config and config.attention_only
        forward = () if only else ("feed-forward",)
        target = (config.target_vocab_size or config.vocab_size) if config else "vocab"
        layers = self.size("n_layers", "N"), self.size("n_decoder_layers", "N")
        left = _Column(20, 168, 10, False, layers[0], "", False, y=-30)
        right = _Column(220, 168, 407, False, layers[1], str(target), True, y=-30)
        for column, name in ((left, "encoder"), (right, "decoder")):
            with self.of(name):
                self.text(column.middle, -11, self.word(name), "middle name free")
        self.input(left, "source tokens")
        self.blocks(left, ["self-attention", *forward])
        if not config or config.norm_first:
            self.up(left, 14)
            self.norm(left)
        self.input(right, "target tokens")
        self.blocks(right, ["self-attention", "cross-attention", *forward])
        with self.of("cross-attention", "encoder"):
            between, y = 207, self.cross
            way = [(left.middle, left.y), (left.middle, left.y - 14), (between, left.y - 14)]
            self.line(*way, (between, y), (right.x, y))
            self.text(between - 8, left.y - 20, self.word("memory"), "shape end")
        self.output(right)
        self.loop(right, 425, -30 - 19)
        return 450
