"""Sphinx settings of the rendered course: everything from the disk, nothing from a network."""

from latex2mathml.converter import convert

project = "Transformer Lab"
copyright = "the Transformer Lab authors, MIT licence"
extensions = ["myst_nb"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "Transformer Lab"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["frames.js"]
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses on a disk
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {"top_of_page_buttons": []}

myst_enable_extensions = ["dollarmath", "amsmath", "html_image"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # make_book.py has run the lessons, and turned their views into pages
nb_ipywidgets_js: dict = {}  # a script from a network
suppress_warnings = [
    "myst.xref_missing",
    "mystnb.unknown_mime_type",
    "misc.highlighting_failure",
    "myst.header",
]


def _inline(self, node):
    self.body.append(convert(node.astext()))
    raise _skip()


def _block(self, node):
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise _skip()


def _skip():
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app):
    # MathML is drawn by browsers themselves; MathJax would be a megabyte, or a network.
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_block, None)
    )
