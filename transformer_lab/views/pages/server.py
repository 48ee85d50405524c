"""Add our preprocessor to a Jupyter server's HTML export, which ignores nbconvert's configuration.

Enabled by etc/jupyter/jupyter_server_config.d/transformer_lab.json, which the package installs.
"""

from typing import Any

PASS = "transformer_lab.views.notebook_pass.StillViews"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    exporter = server.web_app.settings["config"].HTMLExporter
    passes = list(exporter.get("preprocessors", []))
    if PASS not in passes:
        exporter.preprocessors = [*passes, PASS]
