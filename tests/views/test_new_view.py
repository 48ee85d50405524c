"""README's steps for a new view: a folder and a line."""

import shutil
import subprocess
import sys
from pathlib import Path

import transformer_lab
from transformer_lab import views

VIEW = '''
"""A view for a test."""

import traitlets as t

from ..shared.base import View, css, esm


class ToyView(View):
    _esm = esm("toy/view.js")
    _css = css("toy")

    number = t.Int(0).tag(sync=True)

    @property
    def sentence(self):
        return f"The number is {self.number}."
'''
SCRIPT = """
import { element } from "../shared/dom.js";
import { mounted } from "../shared/mounted.js";

class ToyViewer {
  constructor(model, root) {
    Object.assign(this, { model, root });
  }

  open() {
    this.root.append(element("p.tl-sentence", `The number is ${this.model.get("number")}.`));
  }
}

export default mounted(ToyViewer, "toy");
"""
USED = """
from transformer_lab import views
assert "ToyView" in views.__all__
view = views.ToyView("Toy", number=7)
page = view.to_html()
assert ".tl-view.tl-view-toy {" in page and "tl-number { font-weight" in page and "class ToyViewer" in page and '"number":7' in page
print(repr(view))
"""


def test_a_new_view_is_a_folder_and_a_line(tmp_path):
    package = Path(transformer_lab.__file__).parent
    copy = tmp_path / "transformer_lab"
    shutil.copytree(
        package, copy, ignore=shutil.ignore_patterns("__pycache__", "_data", "_notebooks")
    )
    folder = copy / "views" / "toy"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A view for a test."""\n')
    (folder / "view.py").write_text(VIEW)
    (folder / "view.js").write_text(SCRIPT)
    (folder / "view.css").write_text(".tl-number { font-weight: 600; }\n")
    with open(copy / "views" / "__init__.pyi", "a") as file:
        file.write("from .toy.view import ToyView as ToyView\n")
    run = subprocess.run(
        [sys.executable, "-c", USED],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout == "<ToyView: The number is 7.>\n", run.stderr[-2000:]


def test_every_name_of_the_stub_is_there():
    stub = Path(views.__file__).with_suffix(".pyi").read_text("utf-8")
    lines = [line for line in stub.splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(views.__all__) >= 16
    for name in views.__all__:
        assert getattr(views, name).__name__ == name
