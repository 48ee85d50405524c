"""Positions, a run and a comparison live in JupyterLab: page and Python follow each other."""

from tests.browser.fixtures import part_says as says

CODE = """
import torch, transformer_lab as tl, tempfile, pathlib
torch.set_num_threads(1); torch.manual_seed(0)
class Counting:
    def batch(self, step):
        start = torch.randint(0, 20, (4, 1), generator=torch.Generator().manual_seed(step))
        tokens = (start + torch.arange(9)) % 20
        return tl.datasets.Batch(tokens=tokens[:, :-1], targets=tokens[:, 1:])
model = tl.Transformer(tl.ModelConfig(vocab_size=20, n_layers=2, n_heads=2, d_model=16, n_ctx=16))
folder, probe = pathlib.Path(tempfile.mkdtemp()) / "run", torch.tensor([1, 2, 3, 1, 2, 3])
watch = tl.views.TrainingView(probe)
for step in tl.train(model, Counting(), steps=40, run=folder, snapshot_every=10, probe=probe, watch=watch):
    pass
"""
SHOW = [
    'position = tl.views.PositionView("rotary"); position',
    "run = tl.views.RunView(folder); run",
    "compare = tl.views.CompareView.of_steps(run.run, 0, 40); compare",
]


def test_positions_runs_and_comparisons_are_live(notebook, screenshot):
    book = notebook(CODE, *SHOW)
    page = book.page
    book.run_all()
    page.wait_for_function("() => document.querySelectorAll('[data-ready]').length >= 4")
    # Positions: a slider in the page reaches Python, and Python reaches the page.
    page.locator("[data-part=base]").focus()
    page.keyboard.press("ArrowRight")
    book.until("position.base", "30000.0")
    page.locator("[data-part=scheme] [data-value=none]").click()
    book.until("position.scheme", "'none'")
    book.run("position.test = 'shuffle'\nposition.shuffle = 2\n0")
    says(page, "sentence", eval(book.run("position.sentence")))
    # A run: maps of a step are fetched from the kernel.
    scrubs = page.locator("[data-part=scrubber] [data-part=step]")
    assert scrubs.count() == 2  # the view that trained has one too
    book.run("run.step = 10\n0")
    says(page, "run-sentence", eval(book.run("run.run_sentence")))
    scrubs.last.focus()
    page.keyboard.press("ArrowRight")
    book.until("run.step", "20")
    page.wait_for_selector("[data-step='20']")
    assert (
        book.run(
            "bool((run.row(5) - run.run.trace(20).pattern(run.layer, run.head)[5]).abs().max() == 0)"
        )
        == "True"
    )
    # A comparison.
    page.locator("[data-part=grid]").focus()
    page.keyboard.press("Home")
    book.run("compare.layer = 0\ncompare.head = 1\n0")
    says(page, "sentence", eval(book.run("compare.sentence")))
    screenshot(page, "lab-positions-runs")
    assert page.errors == []
