"""A page with a Hugging Face model, embedded as a graph, does what a live view does, with Python's
numbers."""

import copy
from itertools import product

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers import models as engines
from tokenizers import pre_tokenizers as cutters

import transformer_lab as tl
from tests.browser import test_alive_views as alive_views
from tests.browser.fixtures import says
from tests.browser.test_alive_page import (
    OTHER,
    WORDS,
    after,
    edits_are_pythons,
    part,
    rows,
    same,
    type_text,
)
from tests.missing import package
from transformer_lab.graphs.export import Graph
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import BlockView, Explorer, FlowView, HeadView, ResidualView, WhyView
from transformer_lab.views.pages.precision import packed, unpacked

T = package("transformers")
SIZES = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=32,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
MODELS = {
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        dict(
            SIZES,
            num_key_value_heads=2,
            head_dim=8,
            sliding_window=4,
            layer_types=["sliding_attention", "full_attention"],
        ),
    ),
    "bert": ("BertForMaskedLM", "BertConfig", SIZES),
    "deepseek_v3": (  # its values are narrower than its queries
        "DeepseekV3ForCausalLM",
        "DeepseekV3Config",
        dict(
            SIZES,
            num_key_value_heads=4,
            kv_lora_rank=8,
            q_lora_rank=8,
            qk_nope_head_dim=8,
            qk_rope_head_dim=4,
            v_head_dim=8,
            first_k_dense_replace=1,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_group=1,
            topk_group=1,
            moe_intermediate_size=16,
        ),
    ),
    "bart": (  # its answer starts with </s>, which is not its tokenizer's start
        "BartForConditionalGeneration",
        "BartConfig",
        dict(
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=32,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
        ),
    ),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        dict(
            num_layers=2,
            num_heads=4,
            d_model=32,
            d_kv=8,
            d_ff=48,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=2,
        ),
    ),
}


def small(name):
    made, config, sizes = MODELS[name]
    tokenizer = WordTokenizer.train(WORDS)
    torch.manual_seed(6)
    model = getattr(T, made)(getattr(T, config)(vocab_size=tokenizer.vocab_size, **sizes)).eval()
    if name == "bart":
        model.generation_config.forced_bos_token_id = 5
    with torch.no_grad():
        for weight in model.parameters():  # sharpened, and rounded as in the page
            weight.add_(0.2 * torch.randn_like(weight)).copy_(weight.half().float())
    return tl.TextModel(model, tokenizer, name)


@pytest.mark.parametrize("name", ["gemma2", "bert", "deepseek_v3"])
def test_a_hugging_face_model_lives_on_in_its_page(open_page, name):
    view = Explorer(small(name), WORDS, layer=0, head=0)
    page = open_page(view.to_html(model=True))
    type_text(page, OTHER)
    view.text = OTHER
    if name == "bert":  # it predicts only at masks
        page.locator("[data-part=strip-text] [data-index='3']").click()
        after(page, lambda: page.locator(part("mask")).click())
        view.masked = [3]
    same(page, view)
    edits_are_pythons(page, view)
    if name != "bert":
        after(page, lambda: page.locator(part("write")).click())
        assert page.locator(part("written")).inner_text() == view.write()
        same(page, view)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_an_encoder_decoder_reads_another_target(open_page, name):
    view = Explorer(small(name), WORDS, target="the street was")
    page = open_page(view.to_html(model=True))
    type_text(page, OTHER)  # and the model answers, by itself
    view.text = OTHER
    assert view.text_model.starts == {"t5": [0], "bart": [2, 5]}[name]
    same(page, view)
    type_text(page, "it was too tired", "target")
    view.target = "it was too tired"
    same(page, view)
    after(page, lambda: page.locator(part("head-off")).click())
    view.edits = [tl.ablate(view.layer, view.head, kind=view.kind)]
    same(page, view)


@pytest.mark.parametrize(
    ("of", "name"),
    [
        *product((HeadView, ResidualView, BlockView, WhyView), ("gemma2", "bert", "t5")),
        (FlowView, "gemma2"),  # the others have no flow
    ],
)
def test_views_of_one_text_read_another(open_page, of, name):
    model = small(name)
    page = open_page(of(model.trace(WORDS, keep="all")).to_html(model=True))
    alive_views.type_text(page, OTHER)
    view = of(model.trace(OTHER, keep="all"))
    says(page, view)
    if of is WhyView:
        alive_views.says_of_the_score(page, view)
    if of is BlockView:
        for step in view.steps:
            page.locator(f"[data-part=step] [data-value={step}]").click()
            view.step = step
            alive_views.says_of_the_step(page, view)


def test_a_tokenizer_that_no_page_runs_leaves_its_text_explorable(open_page):
    """Edits of the saved text match Python's; typing another is refused with the reason."""
    words = Tokenizer(engines.WordLevel({w: i for i, w in enumerate(["</s>", *WORDS.split()])}))
    words.pre_tokenizer, words.decoder = cutters.WhitespaceSplit(), decoders.Fuse()
    model = small("gemma2")
    tokenizer = T.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>")
    view = Explorer(tl.TextModel(model.model, tokenizer, "gemma2"), WORDS, layer=0, head=0)
    page = open_page(view.to_html(model=True))
    why = "the model WordLevel of its tokenizer does not run in a page"
    assert f"No other text can be read in this page: {why}." in page.locator("body").inner_text()
    edits_are_pythons(page, view)
    page.locator(part("text")).fill(OTHER)
    page.locator(part("text")).press("Enter")
    page.locator(part("status"), has_text=f"his page reads no other text: {why}").wait_for()
    same(page, view)


def first(d, operation, read):
    d["nodes"] = [[operation, "x", [read], {}], *d["nodes"]]


def damaged(d):
    d["weights"].popitem()


def scaled(d):
    """Let the engine compute something else, as one with a mistake would."""
    (*_, attend) = (node for node in d["nodes"] if node[0] == "transformer_lab.attend")
    d["nodes"] = [
        [*node[:2], [*node[2][:6], 3 * node[2][6], *node[2][7:]], node[3]]
        if node is attend
        else node
        for node in d["nodes"]
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: first(d, "eval", "alert(1)"), "the operation eval"),
        (lambda d: first(d, "neg", {"n": "later"}), "x reads later, which"),
        (damaged, "lacks the weight"),
        (scaled, "not compute what PyTorch computed with the same weights"),
        (None, "is not as it was written"),
    ],
)
def test_a_graph_that_is_not_as_exported_is_one_sentence(open_page, monkeypatch, change, told):
    """None of it is run, and what was saved stays."""
    view = Explorer(small("gemma2"), WORDS, layer=0, head=0)
    own = Graph.description
    if change:
        tampered = {}
        monkeypatch.setattr(
            Graph,
            "description",
            lambda self: (tampered.update(own(self)), change(tampered))[0] or tampered,
        )
    text = view.to_html(model=True)
    if not change:  # alter a character of the weights
        head, _, rest = text.rpartition('data-block="model"')
        at = rest.index("</template>") - 200
        text = (
            f'{head}data-block="model"{rest[:at]}{"A" if rest[at] != "A" else "B"}{rest[at + 1 :]}'
        )
    page = open_page(text)
    page.wait_for_function("() => document.body.innerText.includes('What was saved is still here')")
    assert told in page.locator("body").inner_text()
    assert [token for token, *_ in rows(page)] == [row.token for row in view.predictions]
    assert not page.locator(part("text")).is_editable()


def test_where_webassembly_is_refused_the_page_computes_in_javascript(open_page):
    view = Explorer(small("gemma2"), WORDS, layer=0, head=0)
    text = view.to_html(model=True)
    assert "'wasm-unsafe-eval'" in text
    page = open_page(text.replace(" 'wasm-unsafe-eval'", "", 1))
    type_text(page, OTHER)
    view.text = OTHER
    same(page, view)


def test_a_model_is_exported_only_where_it_is_wanted():
    view = Explorer(small("gemma2"), WORDS)
    view.to_html()
    assert "save_html(path, model=True) includes it" in view.stays


def test_weights_of_8_bits_stay_so_in_the_page(open_page):
    """The page's answers are those of the model with weights rounded as in the page."""
    model = small("gemma2")
    view = Explorer(model, WORDS, layer=0, head=0)
    page = open_page(view.to_html(model=True, precision="int8"))
    rounded = copy.deepcopy(model.model)
    weights = {name: x.detach() for name, x in rounded.state_dict(keep_vars=True).items()}
    with torch.no_grad():
        for name, x in unpacked(packed(weights, "int8")).items():
            weights[name].copy_(x)
    type_text(page, OTHER)
    same(page, Explorer(tl.TextModel(rounded, model.tokenizer, "gemma2"), OTHER, layer=0, head=0))
