"""Static figures for the lessons, each drawn once for a light and once for a dark page.

A Picture can draw itself in the colours of a Theme, and has an alt text and a caption. A notebook shows
it as two vector images, and the page's theme selects one. Where HTML is not supported it is a PNG, and
where images are not supported it is its alt text.
"""

from transformer_lab.lessons.pictures.bars import predictions
from transformer_lab.lessons.pictures.lines import curves
from transformer_lab.lessons.pictures.matrices import Grid, grids
from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.planes import mixing
from transformer_lab.lessons.pictures.points import Mark, marks
from transformer_lab.lessons.pictures.themes import DARK, LIGHT, Theme
from transformer_lab.lessons.pictures.tiles import Tile, tiles

__all__ = [
    "DARK",
    "LIGHT",
    "Grid",
    "Mark",
    "Picture",
    "Theme",
    "Tile",
    "curves",
    "grids",
    "marks",
    "mixing",
    "predictions",
    "tiles",
]
