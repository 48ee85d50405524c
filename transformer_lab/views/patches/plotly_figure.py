"""A PatchView as a plotly figure."""

from __future__ import annotations

import base64
import io
from functools import partial
from typing import Any

import numpy as np

from ..shared import plots
from .figure import OVER, PatchScene, patch_figure
from .look import weight_of


def patch_plotly(scene: PatchScene, theme: str) -> plots.Plot:
    """The picture under the chosen head's weights, [row, column] of patches, and what the head gives
    to the positions beside the picture."""
    patches, codes = scene.patches, scene.rows[scene.layer, scene.head]
    weights = np.array([weight_of(int(code)) for code in codes], dtype=np.float32)
    over = weights[patches.start : patches.start + patches.n]
    others = list(patches.others)
    labels = [patches.labels[i] for i in others]
    figure = plots.panels(
        1, 2 if others else 1, column_widths=[0.7, 0.3] if others else None,
        subplot_titles=["", "beside the picture"] if others else None, horizontal_spacing=0.22,
    )  # fmt: skip
    names = np.array(patches.labels[patches.start : patches.start + patches.n], dtype=object)
    largest = float(over.max()) or 1.0
    map_ = plots.heat(
        over.reshape(patches.rows, patches.columns), list(range(patches.columns)),
        list(range(patches.rows)), "%{customdata}: %{z:.4f}",
        f"layer {scene.layer}, head {scene.head}", opacity=OVER * scene.fade, zmin=0, zmax=largest,
        colorscale=plots.colour_scale("viridis", theme, power=2.0, clear=True),
        colorbar=dict(title=dict(text="attention weight", side="right"), thickness=14,
                      x=0.56 if others else 1.0),
        customdata=np.vectorize(plots.said, otypes=[object])(names).reshape(
            patches.rows, patches.columns
        ),
    )  # fmt: skip
    figure.add_trace(map_, row=1, col=1)
    edges: dict[str, Any] = dict(
        showgrid=False, zeroline=False, showticklabels=False, constrain="domain"
    )
    figure.update_xaxes(**edges, row=1, col=1)
    figure.update_yaxes(**edges, autorange="reversed", scaleanchor="x", row=1, col=1)
    figure.add_layout_image(
        source=_address(scene.picture), xref="x", yref="y", x=-0.5, y=-0.5, sizex=patches.columns,
        sizey=patches.rows, sizing="stretch", layer="below",
    )  # fmt: skip
    place = patches.place(scene.query)
    if place is not None:
        figure.add_shape(plots.outline(place[1] - 0.5, place[0] - 0.5, 1, 1, theme), row=1, col=1)
    if others:
        figure.add_trace(
            plots.bars(weights[others], labels, marker_color=plots.heads_of(theme)[0],
                       showlegend=False), row=1, col=2,
        )  # fmt: skip
        plots.name_rows(figure, labels, row=1, col=2)
    return plots.Plot(
        figure, title=f"{scene.title} · layer {scene.layer}, head {scene.head}",
        sentence=scene.sentence, theme=theme, still=partial(patch_figure, scene),
    ).update_layout(height=620)  # fmt: skip


def _address(picture: np.ndarray) -> str:
    """A picture [height, width, 3] as a data address."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
