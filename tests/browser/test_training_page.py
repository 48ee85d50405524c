"""A saved TrainingView in a browser."""

import torch

import transformer_lab as tl
from tests.factories import CountingBatches, learner
from transformer_lab.views import TrainingView


def test_curve_figures_and_heads(open_page, screenshot, map_of):
    model, view = learner(vocab_size=20, n_layers=2, n_ctx=16), TrainingView(torch.arange(6))
    page = open_page(view.to_html())
    assert "Waiting" in page.locator("[data-part=headline]").inner_text()
    for _ in tl.train(
        model,
        CountingBatches(),
        steps=40,
        watch=view,
        eval_batches=[CountingBatches().batch(99)],
        eval_every=10,
    ):
        pass
    page = open_page(view.to_html())
    figures = page.locator("[data-part=figures]").inner_text().split("\n")
    shown = dict(zip(figures[::2], figures[1::2], strict=True))
    assert shown["step"] == "40 of 40"
    assert shown["held-out loss"] == f"{view.history[-1].eval_loss:.3f}"
    last = view.history[-1].loss
    assert shown["loss"] == f"{last:.3f}"
    assert f" to {last:.2f} nats a token" in view.sentence
    assert f"loss {last:.2f} nats" in page.locator("[data-part=run-sentence]").inner_text()
    weights = tl.trace(model.eval(), torch.arange(6)).pattern(0, 0)
    assert map_of(page).hover(4, 2) == f"{weights[4, 2]:.4f}"
    page.locator("[data-part=loss]").hover(position={"x": 300, "y": 80})
    assert page.locator("[data-part=loss-point]").inner_text().startswith("Step ")
    screenshot(page, "training-light", full_page=True)


HIDDEN_FOR_A_FRAME = """async () => {
    const view = document.querySelector(".tl-view");
    const curve = view.querySelector("[data-part=curve]");
    view.style.width = "700px";
    // The view draws itself in the next frame, after what is asked for here.
    const width = await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
        view.style.display = "none";
        setTimeout(() => done(parseFloat(curve.style.width)));
    })));
    view.style.display = "";
    return width;
}"""


def test_a_curve_without_heads_says_where_it_ends_and_keeps_its_width(open_page):
    model, view = learner(vocab_size=20, n_layers=1, n_ctx=16), TrainingView()
    for _ in tl.train(model, CountingBatches(), steps=12, watch=view):
        pass
    page = open_page(view.to_html())
    label = page.locator("[data-part=curve]").get_attribute("aria-label")
    assert label == f"Loss up to step 12, now {view.history[-1].loss:.2f} nats a token."
    assert 600 < page.evaluate(HIDDEN_FOR_A_FRAME) < 700
