"""A linear probe reads what is there, its control does not, and bad labels are refused."""

import pytest
import torch

import transformer_lab as tl
from tests.missing import package
from transformer_lab.analysis import circuits

WORDS = ["cat", "dog", "sun", "tree", "red", "blue", "king", "fish", "moon", "salt", "rope", "lamp"]


@pytest.fixture(scope="module")
def model():
    """An untrained model that reads words."""
    torch.manual_seed(0)
    tokenizer = tl.tokenizers.WordTokenizer.train([" ".join(WORDS)])
    config = tl.ModelConfig(
        vocab_size=tokenizer.vocab_size, n_layers=2, n_heads=2, d_model=32, n_ctx=32
    )
    return tl.TextModel(tl.Transformer(config).eval(), tokenizer)


def random_texts(n, length=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        " ".join(WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=generator))
        for _ in range(n)
    ]


def test_the_token_before_is_read_where_attention_brought_it_and_nowhere_else():
    """A head that attends to the token before has that token in its output; the stream before it
    does not."""
    bare = circuits.induction_by_hand()
    alphabet = [chr(0x4E00 + i) for i in range(bare.config.vocab_size - 5)]  # 5 are special
    tokenizer = tl.tokenizers.CharTokenizer.train("".join(alphabet))
    model = tl.TextModel(bare, tokenizer)
    generator = torch.Generator().manual_seed(1)
    texts, labels = [], []
    for _ in range(40):
        text = "".join(
            alphabet[i] for i in torch.randperm(len(alphabet), generator=generator)[:10].tolist()
        )
        ids = model.encode(text).tolist()
        texts.append(text)
        labels.append([None] + [i % 2 for i in ids[:-1]])
    found = tl.probe(model, texts, labels)
    assert found.by == "token" and found.n == 360
    assert found.heads[0, 0] > 0.9, "previous token head"
    assert found.heads[0, 1] < 0.65, "the other head of its layer does nothing"
    assert found.layers[0] < 0.65 < 0.9 < found.layers[1], "the stream before and after it"
    assert found.baseline < 0.65
    # The control's labels go by the token itself: the head that brings the one before lacks them.
    assert found.heads_selectivity[0, 0] > 0.25
    # The stream holds both after the head has written, so a random label is read as well there.
    assert found.layers_selectivity[0] < -0.25
    assert found.layers_control[1] > 0.9 and found.layers_selectivity[1].abs() < 0.1


def test_a_probe_that_memorises_types_has_no_selectivity(model):
    """Labels that are random by word type are the control task: both are solved alike."""
    texts = random_texts(30)
    sides = {word: i % 2 for i, word in enumerate(WORDS)}
    found = tl.probe(model, texts, [[sides[w] for w in text.split()] for text in texts])
    assert found.layers[0] == 1, "the embedding tells words apart"
    assert found.layers_control[0] > 0.95 and found.layers_selectivity[0].abs() < 0.05


def test_labels_by_text_are_read_at_the_last_token_and_random_ones_are_not(model):
    texts = list(dict.fromkeys(random_texts(60, seed=1)))
    last = [text.split()[-1] in WORDS[:6] for text in texts]
    found = tl.probe(model, texts, last)
    assert (
        found.by == "text" and found.n == len(texts) and found.classes == tuple({}.fromkeys(last))
    )
    assert found.layers[0] > 0.95 and found.layers_control[0] < 0.8
    generator = torch.Generator().manual_seed(3)
    noise = torch.randint(2, (len(texts),), generator=generator).tolist()
    random = tl.probe(model, texts, noise)
    assert (random.layers - random.baseline).max() < 0.25, "what is not there is not found"


def test_accuracies_are_those_of_a_ridge_written_out(model):
    texts = random_texts(12, seed=5)
    labels = [text.split()[-1] in WORDS[:6] for text in texts]
    assert len(set(labels)) == 2
    found = tl.probe(model, texts, labels, folds=12, penalty=0.5)
    x = torch.stack([model.trace(t, keep="all").residual()["resid_post"][1, -1] for t in texts])
    y, right = torch.tensor(labels).double() * 2 - 1, 0
    for out in range(12):
        rest = [i for i in range(12) if i != out]
        a = x[rest].double()
        mean, scale = a.mean(0), a.std(0, correction=0)
        a, b = (a - mean) / scale, (x[out].double() - mean) / scale
        w = (
            torch.linalg.inv(a.T @ a + 0.5 * 11 * torch.eye(32).double())
            @ a.T
            @ (y[rest] - y[rest].mean())
        )
        right += int((b @ w + y[rest].mean() > 0) == (y[out] > 0))
    assert found.layers[2] == pytest.approx(right / 12)


def test_the_same_seed_gives_the_same_table_and_leaves_random_state(model):
    texts = random_texts(20, seed=2)
    labels = [text.split()[-1] in WORDS[:6] for text in texts]
    state = torch.get_rng_state()
    a, b = (tl.probe(model, texts, labels) for _ in range(2))
    assert a.csv() == b.csv() and torch.equal(torch.get_rng_state(), state)
    columns, rows = a.cells()
    assert columns[:4] == ("what", "layer", "head", "accuracy") and len(rows) == 3 + 4
    assert rows[0][:3] == ["stream", -1, None] and rows[-1][:3] == ["head", 1, 1]


def test_a_hugging_face_model(model):
    transformers = package("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=32, n_layer=2, n_head=4, n_embd=32)
    theirs = tl.TextModel(transformers.GPT2LMHeadModel(config).eval(), model.tokenizer)
    texts = random_texts(30, seed=4)
    found = tl.probe(theirs, texts, [text.split()[-1] in WORDS[:6] for text in texts])
    assert found.layers.shape == (3,) and found.heads.shape == (2, 4)
    assert found.layers[0] > 0.9


def test_labels_in_two_of_many_texts_are_enough_and_may_be_an_array(model):
    texts = random_texts(8, length=4, seed=6)
    two = [[0, 1, None, None]] * 2 + [[None] * 4] * 6
    found = tl.probe(model, texts, two)
    assert found.n == 4 and found.layers.isfinite().all()
    labels = torch.tensor([0, 1] * 4)
    assert tl.probe(model, texts, labels).csv() == tl.probe(model, texts, labels.tolist()).csv()


@pytest.mark.badinput
def test_bad_input(model):
    texts = random_texts(6, length=3)
    good = [0, 1] * 3
    for change, error in (
        (dict(model=model.model), r"model must be a TextModel.*got Transformer"),
        (dict(texts="one"), r"list of at least folds=5 texts, got one text"),
        (dict(texts=texts[:3], labels=good[:3]), r"at least folds=5 texts, got 3"),
        (dict(labels=good[:4]), r"6 texts, got 4"),
        (dict(labels="010101"), r"6 texts, got a str"),
        (dict(labels=[1] * 6), r"at least two classes, got only \[1\]"),
        (
            dict(labels=[0, 0, 0, 0, 0, 1]),
            r"every label must be in at least two texts.*1 is in one",
        ),
        (dict(labels=[[0, 1, 0], *good[1:]]), r"all be by text or all by token"),
        (dict(labels=[[0, 1, 0]] * 5 + [[0, 1]]), r"has 3, got 2"),
        (dict(labels=[None, *good[1:]]), r"cannot be None"),
        (dict(folds=1), r"folds must be a whole number from 2, got 1"),
        (dict(penalty=0), r"penalty must be a number above 0, got 0"),
    ):
        given = dict(model=model, texts=texts, labels=good) | change
        with pytest.raises((TypeError, ValueError), match=error):
            tl.probe(given.pop("model"), given.pop("texts"), given.pop("labels"), **given)
