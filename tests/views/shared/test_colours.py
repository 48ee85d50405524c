"""Colours are defined once, for style sheets, scripts and still images."""

import re

from transformer_lab.views.shared.base import css
from transformer_lab.views.shared.colours import colour_map, head_colours, palette
from transformer_lab.views.shared.modules import VIEWS

PACKAGE = VIEWS.parent
# These have their own design: they appear in notebooks of any theme, not on a view's background.
OTHERS = {
    "lessons/cards.py",
    "lessons/diagram.py",
    "lessons/pictures/themes.py",
    "lessons/texts.py",
}
A_COLOUR = re.compile(r"""["'\s:(]#(?:[0-9a-fA-F]{3,4}){1,2}\b|\b(?:rgb|hsl)a?\(\s*\d""")


def test_no_other_file_of_the_package_states_a_colour():
    assert A_COLOUR.search('x = "#1b1f24"') and A_COLOUR.search("a: rgba(120, 130, 140, 0.13)")
    found = {
        str(path.relative_to(PACKAGE).as_posix())
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".js", ".css", ".json")
        and "_data" not in path.parts
        and A_COLOUR.search(path.read_text("utf-8"))
    }
    assert found - OTHERS == {"views/shared/palette.json"}
    assert found >= OTHERS


def test_style_sheets_and_pictures_have_the_colours_of_the_one_list():
    sheet = css("explorer")
    for theme in ("light", "dark"):
        for name, value in palette()[theme].items():
            assert f"--tl-{name}: {value};" in sheet
    assert len(set(head_colours())) == 16
    for name in palette()["tables"]:
        assert colour_map(name).N == 256
