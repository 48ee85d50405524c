"""Preprocessors that let other exporters of notebooks show views, live or at least as pictures.

`LiveViews` is wired by etc/jupyter/jupyter_nbconvert_config.json, `StillViews` by pages/server.py;
the package installs both.
"""

from nbconvert.preprocessors import Preprocessor

from .pages.export import live_views, still_views


class LiveViews(Preprocessor):
    """Replace each view whose state the notebook holds with a live page."""

    def preprocess(self, nb, resources):
        # nbconvert's page has a fixed theme, so the frame follows it, not the reader's system.
        theme = getattr(self.parent, "theme", "light")
        live_views(nb, theme="dark" if theme == "dark" else "light")
        return nb, resources


class StillViews(Preprocessor):
    """For JupyterLab's "Save and Export Notebook As HTML": pictures, and how to get live views.

    With "Sanitize" ticked, HTML in outputs is printed as text, style sheets and pictures included.
    """

    def preprocess(self, nb, resources):
        still_views(nb, sanitized=bool(getattr(self.parent, "sanitize_html", False)))
        return nb, resources
