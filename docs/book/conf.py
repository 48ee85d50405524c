"""Sphinx settings of the rendered course: everything from disk, nothing from a network."""

import gc
import re

from latex2mathml.converter import convert

# Sphinx keeps nearly everything it creates: garbage collection at the usual rate took a fifth of
# its time.
gc.set_threshold(100_000, 50, 1000)

project = "Transformer Lab"
copyright = "the Transformer Lab authors, MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "Transformer Lab"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["frames.js"]
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # it would fetch pages, which browsers refuse for local files
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {"top_of_page_buttons": []}

myst_enable_extensions = ["dollarmath", "amsmath", "html_image"]
myst_heading_anchors = 3
# The reference: docstrings are in Google style, with `code` between single backticks.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
nb_execution_mode = "off"  # make_book.py has run the lessons, and turned their views into pages
nb_ipywidgets_js: dict = {}  # it would load a script from a network
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


ENTRY = re.compile(r"[A-Za-z_][\w, ]*: \S")


def _tidy(app, what, name, obj, options, lines):
    """Adapt docstrings to napoleon: paragraphs of "name: words" are attributes; escape bars."""
    paragraphs = "\n".join(lines).split("\n\n")
    for i, paragraph in enumerate(paragraphs):
        own = [line for line in paragraph.splitlines() if not line.startswith(" ")]
        if own and all(ENTRY.match(line) for line in own) and not own[0].startswith("Source: "):
            paragraphs[i] = "Attributes:\n    " + paragraph.replace("\n", "\n    ")
    text = re.sub(r"(?<!`)\|([^|`\n]+)\|(?!`)", r"\|\1\|", "\n\n".join(paragraphs))
    lines[:] = text.splitlines()


def setup(app):
    app.connect("autodoc-process-docstring", _tidy, priority=100)  # before napoleon
    # Browsers draw MathML themselves; MathJax would need a megabyte, or a network.
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_block, None)
    )
