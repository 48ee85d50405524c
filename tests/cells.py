"""Run code cells in a fresh kernel."""

import os

import nbclient
import nbformat
import pytest

from tests.kernels import FORKED


def told(*sources: str) -> list[dict[str, str]]:
    """Each cell's output: its "stdout", "stderr", "result" and "error" (its kind), if any."""
    code = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(cells=[code(source) for source in sources])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", os.environ[FORKED])
        nbclient.NotebookClient(
            notebook, kernel_name="python3", allow_errors=True, timeout=120, startup_timeout=300
        ).execute()
    found = []
    for cell in notebook.cells:
        found.append({})
        for output in cell.outputs:
            kind, text = {
                "stream": lambda o: (o.name, o.text),
                "error": lambda o: ("error", o.ename),
            }.get(output.output_type, lambda o: ("result", o.data.get("text/plain", "")))(output)
            found[-1][kind] = found[-1].get(kind, "") + text
    return found
