"""`Network` is the only place that recognises models; wrappers are removed alike, and a user's own
model is traced, edited and swept by four statements about it."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab.adapters.hugging_face import HuggingFaceNetwork
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Network
from transformer_lab.adapters.own_network import OurNetwork
from transformer_lab.adapters.wrappers import unwrapped
from transformer_lab.edits.kinds import EditError

ROOT = Path(__file__).parents[2]


ours = partial(small, n_ctx=16)


def theirs():
    T = package("transformers")
    torch.manual_seed(0)
    sizes = dict(vocab_size=50, n_layer=2, n_head=4, n_embd=32, bos_token_id=1, eos_token_id=2)
    return T.GPT2LMHeadModel(T.GPT2Config(**sizes)).eval()


class PeftModel(nn.Module):
    """A PEFT wrapper as it looks from outside."""

    def __init__(self, model, prompts=False):
        super().__init__()
        self.base_model = model
        self.active_peft_config = type("Config", (), {"is_prompt_learning": prompts})

    def get_base_model(self):
        return self.base_model

    def forward(self, *args, **kwargs):
        return self.base_model(*args, **kwargs)


TEXT = torch.tensor([[3, 4, 5, 6, 7]])
WRAPPERS = {
    "torch.compile": lambda m: torch.compile(m, backend="eager"),
    "DataParallel": lambda m: nn.DataParallel(m),
    "PEFT": PeftModel,
    "PEFT of a compiled one": lambda m: PeftModel(torch.compile(m, backend="eager")),
    "a TextModel": lambda m: tl.TextModel(m, tl.tokenizers.CharTokenizer.train("abc")),
}


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("build", [ours, theirs])
def test_a_wrapper_changes_nothing_of_what_a_model_is(build, wrap):
    model = build()
    wrapped = WRAPPERS[wrap](model)
    assert unwrapped(wrapped) is model
    network = network_of(wrapped)
    assert network.module is model and network.kinds == ("decoder",)
    assert [layer.heads for layer in network.layers("decoder")] == [4, 4]
    if wrap == "a TextModel":
        return  # it is passed text
    assert_close(tl.trace(wrapped, TEXT).pattern(1), tl.trace(model, TEXT).pattern(1))
    with tl.edit(wrapped, tl.ablate(1, 2)):
        after = tl.trace(model, TEXT, keep="all")
    assert not after.activation("z", 1)[:, 2].any()
    assert_close(tl.sweep_heads(wrapped, TEXT).values, tl.sweep_heads(model, TEXT).values)


def test_the_two_networks_say_the_same_of_one_model():
    theirs_, own = network_of(model := theirs()), network_of(tl.pretrained.load(model))
    assert isinstance(theirs_, HuggingFaceNetwork) and isinstance(own, OurNetwork)
    for network in (theirs_, own):
        assert network.kind == "decoder" and network.n_heads("decoder") == 4
        assert network.vocabulary[0] == 50 and network.has_head
        assert len(network.blocks("decoder")) == 2
    assert theirs_.transformer is None and own.transformer is own.module


@pytest.mark.badinput
def test_a_prompt_that_stands_before_the_model_is_refused():
    with pytest.raises(ValueError, match=r"PeftModel learned a prompt"):
        tl.trace(PeftModel(ours(), prompts=True), TEXT)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (nn.Linear(2, 2), ["Linear", "kinds", "heads()", "tapped()", "run()", "tl.Network"]),
        ("gpt2", ["model is a str", "tl.Network"]),
        (None, ["model is a NoneType"]),
        (Network(nn.Linear(2, 2)), ["Network", "kinds", "heads()", "tapped()", "run()"]),
        (Network("no module"), ["lacks module"]),
    ],
)
def test_what_is_no_network_is_refused_with_what_it_lacks(given, words):
    for use in (lambda: tl.trace(given, TEXT), lambda: tl.sweep_heads(given, TEXT)):
        with pytest.raises(ValueError) as error:  # noqa: PT011 (the words are checked below)
            use()
        assert all(word in str(error.value) for word in words), error.value
    with pytest.raises(EditError) as error, tl.edit(given, tl.ablate(0, 0)):
        pass
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.badinput
def test_a_network_that_lacks_one_thing_is_told_which():
    class Half(Network):
        kinds = ("decoder",)

        def heads(self, kind):
            return [1]

        def tapped(self):
            yield self.module

    with pytest.raises(ValueError, match=r"Half is a tl.Network that lacks run\(\); see"):
        tl.trace(Half(nn.Linear(2, 2)), TEXT)


def example():
    """The example model and its network in docs/api.md."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n([^`]*class Mine\(tl\.Network\)[^`]*)```", page)
    names = {}
    torch.manual_seed(0)
    exec(code, names)
    return code, names


def test_the_documented_model_is_traced_edited_swept_and_shown():
    code, names = example()
    body = code[code.index("class Mine") :].split("\n\n")[0]
    assert len(body.strip().splitlines()) <= 10, "docs/api.md promises ten lines"
    network = names["network"]
    model = network.module
    trace = tl.trace(network, TEXT % 9, keep="all")
    assert trace.n_layers() == 2 and trace.n_heads() == 2
    q, k, scale = trace.queries_keys(1, 0)
    mask = torch.ones(5, 5).tril().bool()
    scores = (q @ k.T * scale).masked_fill(~mask, float("-inf"))
    assert_close(trace.pattern(1, 0), scores.softmax(-1))
    assert_close(trace.logits, model(TEXT % 9))
    before = model(TEXT % 9)[0, -1].log_softmax(-1)
    sweep = tl.sweep_heads(network, TEXT % 9)
    with tl.edit(network, tl.ablate(1, 1)):
        after = model(TEXT % 9)[0, -1].log_softmax(-1)
    assert_close(sweep.values[1, 1], (after - before)[sweep.tokens[0]])
    assert torch.equal(model(TEXT % 9)[0, -1].log_softmax(-1), before)
    assert tl.views.HeadView(trace).shown == ("decoder", 0, 0)
    with pytest.raises(EditError, match="the residual stream of a"), tl.edit(network, tl.skip(0)):
        pass


def test_what_a_model_is_is_asked_in_adapters_alone():
    """No other folder checks for these classes and attributes."""
    asks = re.compile(
        r"is_hugging_face\(|is_encoder_decoder|_orig_mod|prediction_logits|== \"PreTrainedModel"
        r"|isinstance\([^)]*\bTransformer\b|hasattr\([a-z_.]*(network|model), \"add_tap\""
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "transformer_lab").rglob("*.py"))
        if "adapters" not in path.parts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if asks.search(line)
    ]
    assert found == []
