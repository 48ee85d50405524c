"""Static pictures of the lessons: drawn once for a light and once for a dark page.

A Picture knows how to draw itself for a Theme and carries its alt text and its caption. A notebook
shows it as two vector images of which the page's theme chooses one; places that show no HTML get
a PNG, and places that show no picture get the alt text.
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
