"""A ResidualView as a plotly figure."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..shared import plots
from ..shared.codecs import shown_token
from .figure import ResidualScene, lens_window, residual_figure


def residual_plotly(scene: ResidualScene, theme: str) -> plots.Plot:
    """Lengths of the stream as a map, what each block adds as bars, and the logit lens as a map."""
    names = ["length of the stream", "what each block adds", "the likeliest token after each layer"]
    notes = [f"{names[1]}: not known" if scene.shares is None else names[1],
             "no logit lens" if scene.lens is None else names[2]]  # fmt: skip
    figure = plots.panels(
        2, 2, specs=[[{}, {}], [{"colspan": 2}, None]], subplot_titles=[names[0], *notes],
        column_widths=[0.62, 0.38], horizontal_spacing=0.17, vertical_spacing=0.16,
    )  # fmt: skip
    rows = list(range(len(scene.norms)))
    layers: dict[str, Any] = dict(
        tickvals=rows, ticktext=["start", *map(str, rows[:-1])], title_text="after layer",
        autorange="reversed", showgrid=False,
    )  # fmt: skip
    x, across = plots.token_axis(list(scene.tokens), "x")
    most, usual = float(scene.norms.max()), 2.5 * float(scene.norms.amax(0).median())
    figure.add_trace(
        plots.heat(
            scene.norms, x, rows, "“%{x}” after layer %{y}: length %{z:.3f}", zmin=0,
            zmax=min(most, usual), colorscale=plots.colour_scale("sequential", theme),
            colorbar=dict(title=dict(text="length", side="right"), thickness=14, x=0.5, y=0.79,
                          len=0.45),
        ), row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(**{**across, "side": "bottom"}, row=1, col=1)
    figure.update_yaxes(**layers, row=1, col=1)
    if scene.token is not None:
        figure.add_shape(plots.outline(scene.token - 0.5, -0.5, 1, len(rows), theme), row=1, col=1)
    if scene.shares is not None:
        _added(figure, scene, theme)
    if scene.lens is not None:
        _lens(figure, scene, theme, rows)
        figure.update_yaxes(**layers, row=2, col=1)
    return plots.Plot(
        figure, title=f"{scene.title} · residual stream", sentence=scene.sentence, theme=theme,
        still=partial(residual_figure, scene),
    ).update_layout(height=640 + 22 * len(rows), barmode="group", showlegend=False)  # fmt: skip


def _added(figure: Any, scene: ResidualScene, theme: str) -> None:
    shares, token = scene.shares, scene.token
    assert shares is not None
    of_one = (lambda x: x[..., token]) if token is not None else (lambda x: x.median(-1).values)
    share, cosine = of_one(shares.share), of_one(shares.cosine)
    for i, part in enumerate(shares.parts):
        figure.add_bar(
            x=share[i].tolist(), y=list(range(share.shape[1])), orientation="h", name=part,
            customdata=cosine[i].tolist(),
            marker=dict(color=cosine[i].tolist(), cmin=-1, cmax=1,
                        colorscale=plots.colour_scale("diverging", theme), showscale=i == 0,
                        line=dict(color=plots.ink("quiet", theme), width=1),
                        colorbar=dict(title=dict(text="cosine with the stream", side="right"),
                                      thickness=14, y=0.79, len=0.45)),
            hovertemplate=f"layer %{{y}}, {part}: %{{x:.3f}} times the stream’s length, "
            "cosine %{customdata:+.3f}<extra></extra>", row=1, col=2,
        )  # fmt: skip
    figure.update_yaxes(title_text="layer", autorange="reversed", row=1, col=2)
    figure.update_xaxes(title_text="times the stream’s length", row=1, col=2)


def _lens(figure: Any, scene: ResidualScene, theme: str, rows: list[int]) -> None:
    assert scene.lens is not None
    first, count = lens_window(scene)
    lens = scene.lens(first, count)
    best = [[lens.top(row, column)[0] for column in range(count)] for row in rows]
    words = [[plots.said(shown_token(name)) for name, _ in line] for line in best]
    told = np.array([[f"{w} ({p:.4f})" for w, (_, p) in zip(names, line, strict=True)]
                     for names, line in zip(words, best, strict=True)], dtype=object)  # fmt: skip
    x, across = plots.token_axis([scene.tokens[p] for p in lens.positions], "x")
    figure.add_trace(
        plots.heat(
            lens.answer_probability, x, rows,
            "at “%{x}”, after layer %{y}: %{customdata}<br>the model’s own answer: %{z:.4f}",
            zmin=0, zmax=1, colorscale=plots.colour_scale("sequential", theme), text=words,
            customdata=told, texttemplate="%{text}", textfont=dict(family=plots.CODE, size=11),
            colorbar=dict(title=dict(text="probability of the answer", side="right"), thickness=14,
                          y=0.21, len=0.45),
        ), row=2, col=1,
    )  # fmt: skip
    figure.update_xaxes(**{**across, "side": "bottom"}, row=2, col=1)
    if scene.token is not None and scene.token in lens.positions:
        at = lens.positions.index(scene.token)
        figure.add_shape(plots.outline(at - 0.5, -0.5, 1, len(rows), theme), row=2, col=1)
