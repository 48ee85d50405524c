"""Hybrids, in which only some layers are attention: layers keep the modules' numbers everywhere;
and patching a run into itself changes nothing, whatever the architecture."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import package
from transformer_lab.adapters.hooks import copy_with_edits
from transformer_lab.adapters.lookup import network_of
from transformer_lab.edits.kinds import EditError
from transformer_lab.heads import naming
from transformer_lab.heads.measures import MEASURES
from transformer_lab.tracing.trace import TraceError
from transformer_lab.views.heads.data import HeadData

T = package("transformers")

_SIZES = dict(
    vocab_size=100,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
_STATES = dict(
    mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8, mamba_n_groups=1, mamba_chunk_size=4
)
_LINEAR = dict(
    layer_types=["linear_attention", "full_attention"] * 2,
    linear_num_key_heads=2,
    linear_num_value_heads=2,
    linear_key_head_dim=8,
    linear_value_head_dim=8,
)
_FEW_EXPERTS = dict(num_experts=2, num_experts_per_tok=1)
_MAMBA = dict(use_mamba_kernels=False, mamba_d_state=8, mamba_dt_rank=4)

# name -> (its constructor, the kinds of its layers 0 and 2); layers 1 and 3 have four heads each.
HYBRIDS = {
    "lfm2": (
        lambda: T.Lfm2ForCausalLM(
            T.Lfm2Config(layer_types=["conv", "full_attention"] * 2, **_SIZES)
        ),
        ("convolution", "convolution"),
    ),
    "jamba": (
        lambda: T.JambaForCausalLM(
            T.JambaConfig(
                attn_layer_period=2, attn_layer_offset=1, num_experts=2, **_MAMBA, **_SIZES
            )
        ),
        ("state-space layer", "state-space layer"),
    ),
    "bamba": (
        lambda: T.BambaForCausalLM(T.BambaConfig(attn_layer_indices=[1, 3], **_STATES, **_SIZES)),
        ("state-space layer", "state-space layer"),
    ),
    "nemotron-h": (
        lambda: T.NemotronHForCausalLM(
            T.NemotronHConfig(
                layers_block_type=["mamba", "attention", "mlp", "attention"],
                head_dim=8,
                mamba_num_heads=4,
                mamba_head_dim=16,
                ssm_state_size=8,
                n_groups=1,
                chunk_size=4,
                **{k: v for k, v in _SIZES.items() if k != "num_hidden_layers"},
            )
        ),
        ("state-space layer", "feed-forward layer"),
    ),
    "recurrent-gemma": (
        lambda: T.RecurrentGemmaForCausalLM(
            T.RecurrentGemmaConfig(
                lru_width=32,
                head_dim=8,
                block_types=["recurrent", "attention"],
                **{**_SIZES, "num_key_value_heads": 1},
            )
        ),
        ("recurrence", "recurrence"),
    ),
    "qwen3-next": (
        lambda: T.Qwen3NextForCausalLM(
            T.Qwen3NextConfig(
                head_dim=8,
                moe_intermediate_size=16,
                shared_expert_intermediate_size=16,
                **_LINEAR,
                **_FEW_EXPERTS,
                **_SIZES,
            )
        ),
        ("linear attention", "linear attention"),
    ),
    "granite-hybrid": (
        lambda: T.GraniteMoeHybridForCausalLM(
            T.GraniteMoeHybridConfig(
                layer_types=["mamba", "attention"] * 2,
                shared_intermediate_size=32,
                **_STATES,
                **_SIZES,
            )
        ),
        ("state-space layer", "state-space layer"),
    ),
    "zamba": (  # its two attention layers share one module
        lambda: T.ZambaForCausalLM(
            T.ZambaConfig(
                attn_layer_period=2,
                attn_layer_offset=1,
                n_mamba_heads=2,
                attention_head_dim=16,
                layers_block_type=["mamba", "hybrid"] * 2,
                **_MAMBA,
                **{**_SIZES, "num_key_value_heads": 4},
            )
        ),
        ("state-space layer", "state-space layer"),
    ),
    "minimax": (
        lambda: T.MiniMaxForCausalLM(
            T.MiniMaxConfig(
                head_dim=8,
                layer_types=["linear_attention", "full_attention"] * 2,
                block_size=4,
                num_local_experts=2,
                num_experts_per_tok=1,
                **_SIZES,
            )
        ),
        ("linear attention", "linear attention"),
    ),
    "olmo-hybrid": (
        lambda: T.OlmoHybridForCausalLM(T.OlmoHybridConfig(**_LINEAR, **_SIZES)),
        ("linear attention", "linear attention"),
    ),
}
EACH = pytest.mark.parametrize("name", HYBRIDS)


def noisy(model):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def hybrid():
    made = {}

    def make(name):
        if name not in made:
            torch.manual_seed(0)
            made[name] = noisy(HYBRIDS[name][0]())
        return made[name]

    return make


def text():
    return torch.randint(3, 100, (1, 9), generator=torch.Generator().manual_seed(3))


@EACH
def test_layers_are_numbered_by_their_modules_and_told_for_what_they_are(hybrid, name):
    trace = tl.trace(hybrid(name), text(), keep="all")
    first, third = HYBRIDS[name][1]
    assert [layer.label for layer in trace.layers()] == [
        f"layer 0: {first}, no heads",
        "layer 1: 4 heads",
        f"layer 2: {third}, no heads",
        "layer 3: 4 heads",
    ]
    assert trace.n_layers() == 4 and trace.attending() == [1, 3]
    assert [trace.heads_of(i) for i in range(4)] == [0, 4, 0, 4]
    assert trace.residual()["resid_post"].shape[0] == 4 and len(trace.residual_norms()) == 5
    assert trace.patterns()[[0, 2]].isnan().all() and not trace.patterns()[[1, 3]].isnan().any()


@EACH
@pytest.mark.badinput
def test_the_heads_of_a_layer_without_any_are_refused(hybrid, name):
    model = hybrid(name)
    trace = tl.trace(model, text(), keep="all")
    what = HYBRIDS[name][1][0]
    why = rf"layer=0 has no heads: it is (a )?{what} \(\w+\); heads are in layers 1, 3"
    for ask in (trace.pattern, trace.scores, trace.value_norms, lambda i: trace.activation("z", i)):
        with pytest.raises(TraceError, match=why):
            ask(0)
    for edit in (tl.ablate(0, 1), tl.knock_out(0, query=3, key=1), tl.skip(0)):
        with pytest.raises(EditError, match=why), tl.edit(model, edit):
            pass


@pytest.mark.parametrize("name", ["lfm2", "bamba"])
def test_measures_say_nothing_of_heads_that_are_not_there(hybrid, name):
    tokens = torch.cat((text(), text()), 1)
    trace = tl.trace(hybrid(name), tokens)
    for measure in (tl.heads.previous_token, tl.heads.two_hop_induction, tl.heads.entropy):
        scores = measure(trace)
        assert scores[[0, 2]].isnan().all() and not scores[[1, 3]].isnan().any()
    assert tl.heads.moved(trace, trace, 3)[[0, 2]].isnan().all()


@pytest.mark.parametrize("name", ["lfm2", "bamba"])
def test_labels_are_of_the_heads_that_are_there(hybrid, name, monkeypatch):
    for bar in ("BAR", "ABOVE"):  # every head gets one
        monkeypatch.setattr(naming, bar, -1.0)
    found = tl.heads.labels(hybrid(name))
    where = [[(one.layer, one.head) for one in row] for row in found]
    assert where == [[(layer, head) for head in range(4 * (layer % 2))] for layer in range(4)]
    assert all(one.alone is not None and one.note is None for row in found for one in row)
    with pytest.raises(ValueError, match=r"layer=0 has no heads: .* heads are in layers 1, 3"):
        tl.heads.label(hybrid(name), 0, 1)


def test_a_heads_bar_goes_by_the_heads_that_are_there(hybrid, monkeypatch):
    """A resting label's bar is above the median of the heads that exist."""
    for measure in MEASURES.values():
        if measure.name != "first token":
            monkeypatch.setitem(MEASURES, measure.name, dataclasses.replace(measure, says=""))
    monkeypatch.setattr(naming, "ABOVE", 0.6)
    found = [one for row in tl.heads.labels(hybrid("lfm2"), ablation=False) for one in row]
    median = torch.tensor([one.score for one in found]).median().item()
    assert len(found) == 8 and 0.01 < median < 0.3
    assert all(one.bar == pytest.approx(median + 0.6) for one in found)


@EACH
@torch.no_grad()
def test_an_edit_acts_on_the_layer_that_the_trace_shows(hybrid, name):
    model = hybrid(name)
    clean = tl.trace(model, text(), keep="all")
    for layer in (1, 3):
        with tl.edit(model, tl.ablate(layer, 2)):
            found = tl.trace(model, text(), keep="all")
        z, before = (t.activation("z", layer) for t in (found, clean))
        assert not z[:, 2].any()
        assert_close(z[:, [0, 1, 3]], before[:, [0, 1, 3]], rtol=0, atol=1e-5)
        changed = [
            not torch.allclose(*(t.residual()["resid_post"][i] for t in (found, clean)), atol=1e-6)
            for i in range(4)
        ]
        assert changed == [i >= layer for i in range(4)]


@EACH
@torch.no_grad()
def test_a_sweep_switches_off_the_heads_that_are_there(hybrid, name):
    model = hybrid(name)
    sweep = tl.sweep_heads(model, text())
    assert sweep.values[[0, 2]].isnan().all() and not sweep.values[[1, 3]].isnan().any()
    before = model(text()).logits[0, -1].log_softmax(-1)
    best = sweep.best()
    with tl.edit(model, *best.edits):
        after = model(text()).logits[0, -1].log_softmax(-1)
    change = (after - before)[sweep.tokens[0]]
    assert_close(torch.tensor(best.value), change, rtol=0, atol=1e-5)


def _ours(kind, **more):
    sizes = dict(vocab_size=50, n_layers=2, n_heads=4, d_model=32, n_ctx=32)
    return lambda: tl.Transformer(tl.ModelConfig(kind=kind, **sizes, **more))


OURS = {
    "our decoder": _ours("decoder"),
    "our encoder": _ours("encoder"),
    "our encoder-decoder": _ours("encoder-decoder", n_decoder_layers=3),
    "our recurrent": lambda: tl.Recurrent(
        tl.RecurrentConfig(vocab_size=50, d_model=32, kind="encoder-decoder", attention="bahdanau")
    ),
}
FAMILIES = ["gpt2", "llama", "gemma2", "albert", "bert", "t5", "bart"]


@pytest.mark.parametrize("name", [*OURS, *FAMILIES, *HYBRIDS])
@torch.no_grad()
def test_a_run_patched_into_itself_changes_nothing(hybrid, tiny, name):
    if name in OURS:
        torch.manual_seed(0)
        model = noisy(OURS[name]())
    else:
        model = hybrid(name) if name in HYBRIDS else tiny(name)
    tokens, target = text() % 50, None
    if network_of(model).kind == "encoder-decoder":
        target = tokens[:, :5]
    own = tl.trace(model, tokens, target, keep="all")
    for kind in own.kinds:
        places = (
            ["z"] if (kind, "resid_post") not in _kept(own) else ["z", "resid_pre", "resid_post"]
        )
        for what in places:
            with tl.edit(model, tl.patch(own, kind=kind, what=what)):
                again = tl.trace(model, tokens, target, keep="all")
            assert_close(again.logits, own.logits, rtol=0, atol=2e-6)
        for layer in own.attending(kind):
            with tl.edit(model, tl.patch(own, layer, 0, kind=kind)):
                again = tl.trace(model, tokens, target, keep="all")
            assert_close(again.logits, own.logits, rtol=0, atol=2e-6)


def _kept(trace):
    found = set()
    for kind in trace.kinds:
        try:
            found |= {(kind, name) for name in trace.residual(kind) if kind != "cross"}
        except TraceError:
            continue
    return found


@torch.no_grad()
def test_a_tapped_copy_of_a_hybrid_numbers_its_layers_alike(hybrid):
    model = hybrid("lfm2")
    with tl.edit(model, tl.ablate(3, 1)):
        twin = copy_with_edits(model)
        assert torch.equal(twin(text()).logits, model(text()).logits)


def test_two_calls_in_one_layer_are_shown_by_the_models_own_maps_and_not_edited():
    torch.manual_seed(0)
    model = noisy(T.LlamaForCausalLM(T.LlamaConfig(**_SIZES)))
    attention = model.model.layers[0].self_attn
    once = attention.forward
    attention.forward = lambda **k: (once(**k), once(**k))[1]
    trace = tl.trace(model, text())
    assert trace.n_layers() == 4 and trace.n_heads() == 4
    assert "attends more than once in layer 0" in trace.note
    with (
        pytest.raises(EditError, match="attends more than once in layer 0"),
        tl.edit(model, tl.ablate(1, 2)),
        torch.no_grad(),
    ):
        model(text())


@pytest.mark.parametrize("name", ["lfm2", "nemotron-h"])
def test_views_show_a_hybrid(hybrid, name):
    trace = tl.trace(hybrid(name), text(), keep="all")
    view = tl.views.HeadView(trace)
    assert view.shown[1] == 1, "the first head on view is one that is there"
    assert set(view._kinds["decoder"]["headless"]) == {"0", "2"}
    assert HeadData(trace, 0).head("decoder", 0, 0).data.strip(b"\0") == b"", "nothing is made up"
    assert tl.views.ResidualView(trace) is not None
    assert tl.views.WhyView(trace).shown[1] == 1
    with pytest.raises(TraceError, match="layer=2 has no heads"):
        tl.views.WhyView(trace, layer=2)
    assert tl.heads.previous_token(trace)[[0, 2]].isnan().all()


def test_an_explorer_shows_a_hybrid_and_is_saved(hybrid, tmp_path):
    words = "the cat sat on the mat and the cat sat"
    tokenizer = tl.tokenizers.WordTokenizer.train(
        words + " " + " ".join(map(str, range(200))), max_size=100
    )
    text_model = tl.TextModel(hybrid("lfm2"), tokenizer)
    explorer = tl.explore(text_model, words)
    explorer.edits = [tl.ablate(1, 2)]
    assert explorer.save_html(tmp_path / "page.html").stat().st_size > 10_000


def test_a_gate_between_heads_and_their_output_is_said(hybrid, tiny):
    tokens = torch.tensor([[5, 6, 7, 8, 9, 5, 6]])
    plain = tl.trace(tiny("llama"), tokens)
    assert not plain.gated(0) and plain.value_note == "‖value · W_O‖"
    trace = tl.trace(hybrid("qwen3-next"), tokens)
    layer = trace.attending()[-1]
    assert trace.gated(layer)
    assert trace.value_note == "‖value · W_O‖, before the gate or norm that comes between"
    assert (trace.value_weighted(layer, 0) >= 0).all()
    with pytest.raises(TraceError, match="a gate or a norm comes between the heads and W_O"):
        tl.circuits.contributions(trace, layer, 3)
