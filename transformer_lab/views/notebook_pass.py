"""What stock `jupyter nbconvert --to html` runs, so that views are alive with no network.

Wired by etc/jupyter/jupyter_nbconvert_config.json, which the package installs.
"""

from nbconvert.preprocessors import Preprocessor

from .export import live_views


class LiveViews(Preprocessor):
    """Puts a live page in the place of each view whose state the notebook holds."""

    def preprocess(self, nb, resources):
        # nbconvert's page has a fixed theme, so the frame follows it, not the reader's system.
        theme = getattr(self.parent, "theme", "light")
        live_views(nb, theme="dark" if theme == "dark" else "light")
        return nb, resources
