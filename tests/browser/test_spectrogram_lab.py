"""A live SpectrogramView in JupyterLab: the kernel computes; page and Python agree."""

from tests.missing import package

package("transformers")

CODE = """
import numpy as np, torch, transformers, transformer_lab as tl
torch.set_num_threads(1); torch.manual_seed(0)
config = transformers.WhisperConfig(
    vocab_size=32, num_mel_bins=40, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_source_positions=50,
    max_target_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, init_std=0.5,
)
model = transformers.WhisperForConditionalGeneration(config).eval()
time = np.arange(12800) / 16000
wave = 0.5 * np.sin(2 * np.pi * (200 * time + 2400 * time**2))
view = tl.views.SpectrogramView(model, wave, sampling_rate=16000, target=[1, 5, 6, 9], labels=["<s>", "one", " two", " three"])
view
"""
VIEW = ".tl-view-spectrogram"
SAYS = f"want => document.querySelector('{VIEW} [data-part=sentence]').textContent === want"


def test_a_sound_is_live(notebook, screenshot):
    book = notebook(CODE, "heads = tl.views.HeadView(view.trace); heads")
    page = book.page
    book.run_all()
    page.wait_for_selector(f"{VIEW}[data-ready]")
    says = lambda: page.wait_for_function(SAYS, arg=eval(book.run("view.sentence")))  # noqa: E731
    says()
    page.locator(f"{VIEW} [data-part=words] [data-value='2']").click()
    page.wait_for_selector("[data-query='2']")
    assert book.run("view.query") == "2"
    page.locator(f"{VIEW} [data-part=heads]").focus()
    page.keyboard.press("ArrowRight")
    # The other view of this trace follows.
    book.until(
        "(heads.kind, heads.layer, heads.head, heads.selected)", "('cross', 1, 1, (2, None))"
    )
    page.locator("[data-part=off]").click()
    page.wait_for_selector("[data-part=effect] tbody tr")
    page.locator("[data-part=sound]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    book.until("view.span[1] - view.span[0]", "1")
    page.locator("[data-part=cut]").click()
    page.wait_for_function(
        "() => document.querySelector('[data-part=cut]').textContent.startsWith('Mend')"
    )
    page.wait_for_selector("[data-part=effect] tbody tr")
    first = int(book.run("view.span[0]"))
    cuts = ", ".join(
        f'tl.knock_out(layer=1, head=1, query=2, key={k}, kind="cross")' for k in (first, first + 1)
    )
    book.until("view.edits", f'[tl.ablate(layer=1, head=1, kind="cross"), {cuts}]')
    says()
    page.locator("[data-part=remove-all]").click()
    page.locator(f"{VIEW} [data-part=mean] [data-value=layer]").click()
    page.locator("[data-part=off]").click()
    book.until("view.edits", '[tl.ablate(layer=1, kind="cross")]')
    page.wait_for_selector("[data-part=effect] tbody tr")
    says()
    page.locator("[data-part=try]").click()
    page.wait_for_selector("[data-part=tried]:has-text('Under each head')")
    book.until("len(view._every)", "4")
    screenshot(page, "lab-spectrogram")
    assert page.errors == []
