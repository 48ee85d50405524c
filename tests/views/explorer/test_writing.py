"""Generated text in an Explorer: exactly the tokens that were chosen."""

import pytest
import torch

import transformer_lab as tl
from tests.views.explorer.test_view import TEXT, text_model
from transformer_lab.adapters.lookup import network_of
from transformer_lab.tokenizers import BPETokenizer
from transformer_lab.views import Explorer
from transformer_lab.writing import Sampling, sampling_distribution

ask = {"type": "run", "request": 1}


@pytest.fixture(scope="module")
def decoder():
    return text_model()


def take(view, at=None):
    """Click on a predicted token."""
    ids = view._about["ids"]
    token = next(i for i in view._outcome["ids"] if view.text_model.decode([i]))
    if at is None:
        view._answer({**ask, "ids": [*ids, token], "position": None})
    else:
        filled = [token if i == at else one for i, one in enumerate(ids)]
        masked = [i for i in view.masked if i != at]
        view._answer({**ask, "ids": filled, "masked": masked, "position": None})
    return token


def test_a_predicted_token_is_appended_and_predicted_from(decoder):
    view = Explorer(decoder, "The animal", edits=[tl.knock_out(0, 1, query=1, key=0)])
    token = take(view)
    assert view.ids == [*decoder.encode("The animal").tolist(), token]
    assert view.position == 2 and len(view._about["tokens"]) == 3
    assert view.text == f"The animal {decoder.tokenizer.decode([token])}"
    assert len(view.edits) == 1, "what it names stands where it stood"
    assert view.session.reading.exact_ids is None, "these words give these tokens"
    fresh = Explorer(decoder, view.text)
    assert [r.before for r in view.predictions if r.before > 0.05] == pytest.approx(
        [r.before for r in fresh.predictions if r.before > 0.05]
    )


def test_tokens_stay_what_they_were_where_the_words_would_be_split_otherwise():
    tokenizer = BPETokenizer.train("key keys keyed " * 20, 270)
    torch.manual_seed(0)
    config = tl.ModelConfig(
        vocab_size=tokenizer.vocab_size, n_layers=1, n_heads=2, d_model=16, n_ctx=16
    )
    model = tl.TextModel(tl.Transformer(config).eval(), tokenizer, "small")
    view = Explorer(model, "k", edits=[tl.ablate(0, 0)])
    for letter in "ey":
        view.append(letter)
    exact = [i for letter in "key" for i in tokenizer.encode(letter)]
    assert view.ids == exact != tokenizer.encode("key")
    assert view.text == "key"
    names = {"tl": tl, "model": model}
    exec(view.code, names)
    assert names["before"].tokens[0].tolist() == exact
    view.edits = []
    assert view.ids == exact, "an edit changes no token"
    view.text = "key "
    assert view.ids == tokenizer.encode("key ")


def test_the_target_of_an_encoder_decoder_grows():
    model = text_model("encoder-decoder")
    view = Explorer(model, TEXT, "l' animal")
    before = view.ids
    view.position = len(before) - 1
    token = take(view)
    assert view.ids == [*before, token] and view.position == len(before)
    assert view.target == f"l' animal {model.decode([token])}"
    assert view.text == TEXT
    view = Explorer(model, TEXT)  # its own answer becomes the user's
    assert view.target is None
    own = view.ids
    view.append(own[-1])
    assert view.ids == [*own, own[-1]] and view.target is not None


@pytest.mark.parametrize("hidden", [False, True], ids=["written", "clicked"])
def test_a_masked_model_puts_the_token_in_the_place_of_the_mask(hidden):
    model = text_model("encoder")
    mask = model.tokenizer.tokens([model.tokenizer.mask_id])[0]
    view = Explorer(model, "The animal did" if hidden else f"The {mask} did")
    if hidden:
        view.masked = [1]
    token = take(view, at=1)
    assert view.ids == model.encode("The animal did").tolist()[:1] + [token] + view.ids[2:]
    assert view.masked == [] and view._outcome["positions"] == []
    assert view.text == f"The {model.decode([token])} did"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("token", "words"),
    [
        (-1, r"token=-1 is not a token of small decoder \(0 … "),
        (10**6, r"token=1000000 is not a token"),
        ("", "'' is 0 tokens"),
        ("The animal", "is 2 tokens for small decoder; give one token, or its id"),
        (None, "token must be an id, or a text that is one token, got None"),
        (True, "token must be an id, .* got True"),
        (1.5, "token must be an id, .* got 1.5"),
    ],
)
def test_what_is_no_token_is_refused_and_nothing_is_lost(decoder, token, words):
    view = Explorer(decoder, TEXT)
    with pytest.raises(ValueError, match=words):
        view.append(token)
    assert view.text == TEXT


@pytest.mark.badinput
def test_a_full_context_takes_no_more(decoder):
    view = Explorer(decoder, " ".join(["it"] * 32))
    with pytest.raises(ValueError, match="33 tokens but small decoder reads at most 32; begin"):
        view.append("it")
    with pytest.raises(ValueError, match="writes nothing on"):
        Explorer(text_model("encoder"), TEXT).append("it")


def test_it_writes_on_without_and_with_edits_and_says_where_they_part(decoder, monkeypatch):
    view = Explorer(decoder, "The animal did")
    prompt = decoder.encode("The animal did")
    sampled = dict(temperature=1.5, top_k=20, top_p=0.95, seed=5)
    view.write(12, **sampled)
    generator = torch.Generator().manual_seed(5)
    by_hand = tl.generate(
        decoder.model,
        prompt[None],
        max_new_tokens=12,
        temperature=1.5,
        top_k=20,
        top_p=0.95,
        eos_id=decoder.tokenizer.eos_id,
        generator=generator,
    )[0].tolist()
    end = decoder.tokenizer.eos_id
    assert view.ids == [*prompt.tolist(), *by_hand[: by_hand.index(end) if end in by_hand else 12]]
    view.text = "The animal did"
    edits = view.edits = [tl.scale(1, h, by=-9) for h in range(4)]
    sentence = view.write(12, **sampled)
    with tl.edit(decoder.model, *edits):
        edited = decoder.write(prompt, 12, **sampled)
    plain, other = view.ids, [*prompt.tolist(), *edited]
    assert view._outcome["written"]["other"] == other
    parts = view._outcome["written"]["parts"]
    assert plain[:parts] == other[:parts] and plain[parts : parts + 1] != other[parts : parts + 1]
    assert f"the two texts diverge at token {parts}: “" in sentence
    # After the first, every step is shown without another pass.
    view.position = 3
    monkeypatch.setattr(tl.TextModel, "trace_ids", None)
    for place in range(3, len(plain)):
        view.position = place
        row = view.session.reading.trace.logits[0, place].double().softmax(-1)
        assert view.predictions[0].before == pytest.approx(float(row.max()))
    monkeypatch.undo()
    view.edits = []
    assert view._outcome["written"] == {}, "the other was written with those edits"


@pytest.mark.parametrize(("length", "room"), [(3, 20), (30, 2)])
def test_without_a_number_it_writes_twenty_tokens_or_what_there_is_room_for(decoder, length, room):
    view = Explorer(decoder, " ".join(["it"] * length))
    asked = decoder.write(torch.tensor(view.ids), room)
    view.write()
    assert view.ids[length:] == asked and 0 < len(asked) <= room


@pytest.mark.badinput
def test_where_there_is_no_room_it_says_so(decoder):
    view = Explorer(decoder, " ".join(["it"] * 32))
    with pytest.raises(
        ValueError,
        match="n must be at least 1 and at most 0, the tokens left in the context, got 20",
    ):
        view.write()


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(temperature=-1.0), r"temperature must be 0 \(greedy\) or more, got -1.0"),
        (dict(temperature=float("nan")), "temperature must be a finite number, got nan"),
        (dict(top_k=0), "top_k must be at least 1, got 0; None"),
        (dict(top_k=999), "top_k must be at most 26, the tokens of the vocabulary, got 999"),
        (dict(top_p=0.0), "top_p must be above 0 and at most 1, got 0.0"),
        (dict(top_p=1.1), "top_p must be above 0 and at most 1, got 1.1"),
        (dict(n=0), "n must be at least 1 and at most 29, the tokens left in the context, got 0"),
        (dict(n=30), "n must be at least 1 and at most 29, .* got 30"),
        (dict(n=1.5), "n must be a whole number, got 1.5"),
        (dict(seed="x"), "seed must be a whole number, got 'x'"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_sentence(decoder, given, words):
    view = Explorer(decoder, "The animal did")
    with pytest.raises(ValueError, match=words):
        view.write(**{"n": 3, **given})
    assert view.text == "The animal did" and view._outcome["written"] == {}


def test_hugging_face_models_write_as_their_generate_does_and_draw_as_ours():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=50,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=1,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    network, text = network_of(model), torch.randint(3, 50, (1, 9))

    def write(cached=True, **options):
        sampling = Sampling(**options)
        return network.write(text, 12, bos_id=1, eos_id=None, sampling=sampling, cached=cached)

    assert write() == model.generate(text, max_new_tokens=12, do_sample=False)[0, 9:].tolist()
    drawn, ids, generator = dict(temperature=1.3, top_k=8, top_p=0.9), text, torch.Generator()
    generator.manual_seed(4)
    with torch.no_grad():
        for _ in range(12):
            chances = sampling_distribution(model(ids).logits[:, -1], **drawn)
            ids = torch.cat((ids, torch.multinomial(chances, 1, generator=generator)), 1)
    assert write(seed=4, **drawn) == ids[0, 9:].tolist()
    # The model's own generation settings are ignored.
    model.generation_config.update(repetition_penalty=50.0, num_beams=3, no_repeat_ngram_size=1)
    assert write(seed=4, **drawn) == ids[0, 9:].tolist()
    for edit in (tl.ablate(1, 1), tl.knock_out(query=6, key=5), tl.knock_out(key=3)):
        with tl.edit(model, edit):
            assert write(seed=4, **drawn) == write(seed=4, cached=False, **drawn)
