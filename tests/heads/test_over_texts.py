"""A head over several texts, against loops and real shuffles."""

import pytest
import torch

import transformer_lab as tl
from tests.adapters import families
from tests.factories import FRENCH, small, vision

LENGTHS = (5, 9, 7)


def batch(kind="decoder", left=False, lengths=LENGTHS):
    """A trace of padded texts of these lengths."""
    torch.manual_seed(3)
    tokens = torch.randint(1, 50, (len(lengths), max(lengths)))
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    mask = mask.flip(1) if left else mask
    target = torch.randint(1, 50, (len(lengths), 6)) if kind == "encoder-decoder" else None
    return tl.trace(small(kind, sharpness=3.0), tokens, target, mask=mask)


@pytest.mark.parametrize(
    ("model", "kind", "left"),
    [
        ("decoder", "decoder", False),
        ("decoder", "decoder", True),
        ("encoder", "encoder", False),
        ("encoder-decoder", "cross", False),
    ],
)
def test_averages_are_those_of_a_loop(model, kind, left):
    found, n = batch(model, left), max(LENGTHS)
    average = tl.heads.average_map(found, 1, 2, kind=kind)
    n_query = 6 if kind == "cross" else 5
    for query in range(n_query):
        for key in range(5):
            each = []
            for text, length in enumerate(LENGTHS):
                off = n - length if left else 0
                row = found.pattern(1, 2, kind=kind, batch=text)[
                    query + (0 if kind == "cross" else off)
                ]
                each.append(float(row[key + off]))
            mean = sum(each) / 3
            spread = (sum((x - mean) ** 2 for x in each) / 3) ** 0.5
            assert float(average.mean[query, key]) == pytest.approx(mean, abs=1e-6)
            assert float(average.spread[query, key]) == pytest.approx(spread, abs=1e-5)
    where = "positions 0–4" if kind != "cross" else "queries 0–5 and keys 0–4"
    assert average.sentence.startswith(f"Mean over 3 texts, {where}, which all texts have.")


def test_the_control_is_what_shuffling_gives():
    """Shuffle the visible keys of each row, in every text separately, 600 times."""
    found = batch()
    average = tl.heads.average_map(found, 1, 2)
    torch.manual_seed(1)
    variances = torch.zeros(5, 5, dtype=torch.float64)
    for _ in range(600):
        maps = torch.zeros(3, 5, 5, dtype=torch.float64)
        for text in range(3):
            for query in range(5):
                row = found.pattern(1, 2, batch=text)[query, : query + 1]
                maps[text, query, : query + 1] = row[torch.randperm(query + 1)]
        variances += maps.var(0, correction=0) / 600
    torch.testing.assert_close(average.shuffled.double() ** 2, variances, atol=8e-3, rtol=0)
    wanted = 1 - float((average.spread**2).sum() / (average.shuffled**2).sum())
    assert average.consistency == pytest.approx(wanted, abs=1e-5)


def test_one_text_twice_is_consistent_and_even_rows_have_nothing_to_shuffle():
    ids = torch.arange(8)[None].expand(3, -1)
    assert tl.heads.average_map(tl.trace(small(sharpness=3.0), ids), 0, 1).consistency == 1
    even = tl.heads.average_map(tl.trace(small(sharpness=0.0), torch.arange(16).view(2, 8)), 0, 1)
    assert even.consistency != even.consistency and "nothing to shuffle" in even.sentence


@pytest.mark.parametrize("model", ["decoder", "encoder"])
def test_by_distance_is_that_of_a_loop(model):
    found = batch(model)
    profile = tl.heads.by_distance(found, 1, 2)
    lowest = 0 if model == "decoder" else -4
    assert profile.distances.tolist() == list(range(lowest, 5))
    for i, distance in enumerate(range(lowest, 5)):
        of_texts, even = [], []
        for text, length in enumerate(LENGTHS):
            weights = found.pattern(1, 2, batch=text)
            pairs = [(q, q - distance) for q in range(length) if 0 <= q - distance < length]
            of_texts.append(sum(float(weights[p]) for p in pairs) / len(pairs))
            reach = [q + 1 if model == "decoder" else length for q, _ in pairs]
            even.append(sum(1 / n for n in reach) / len(pairs))
        given = torch.tensor(of_texts)
        assert float(profile.mean[i]) == pytest.approx(float(given.mean()), abs=1e-6)
        assert float(profile.spread[i]) == pytest.approx(float(given.std(correction=0)), abs=1e-6)
        assert float(profile.shuffled[i]) == pytest.approx(sum(even) / 3, abs=1e-6)
    assert (
        f"distances {str(lowest).replace('-', '−')} to 4, which all texts have" in profile.sentence
    )


def test_what_has_no_average_is_refused_with_the_reason():
    one = tl.trace(small(), torch.arange(4))
    with pytest.raises(ValueError, match="needs at least two texts, got 1 of the 1 texts"):
        tl.heads.average_map(one, 0, 0)
    short = batch(lengths=(5, 1, 4))
    with pytest.raises(ValueError, match="text 1 has 1 token, so the texts do not share"):
        tl.heads.by_distance(short, 0, 0)
    assert tl.heads.average_map(short, 0, 0, texts=[0, 2]).mean.shape == (4, 4)
    with pytest.raises(ValueError, match="batch=7 is outside"):
        tl.heads.average_map(short, 0, 0, texts=[0, 7])
    ids, target = torch.arange(10).view(2, 5), torch.arange(2 * len(FRENCH)).view(2, -1)
    cross = tl.trace(small("encoder-decoder"), ids, target)
    with pytest.raises(ValueError, match="kind='cross' has no distance"):
        tl.heads.by_distance(cross, 0, 0, kind="cross")


def test_of_pictures_there_is_an_average_and_no_distance():
    pytest.importorskip("transformers")
    found = tl.trace(vision(), pixel_values=torch.randn(2, 3, 16, 16))
    both = torch.stack([found.pattern(0, 1, batch=text) for text in (0, 1)])
    torch.testing.assert_close(tl.heads.average_map(found, 0, 1).mean, both.mean(0))
    with pytest.raises(ValueError, match="lie in a grid, not in a line"):
        tl.heads.by_distance(found, 0, 1)


def test_what_goes_to_nothing_is_averaged_too():
    pytest.importorskip("transformers")
    model = families.tiny("mimo_v2_flash")  # with sinks in layer 0
    found = tl.trace(model, **families.ours(families.text(model)))
    average = tl.heads.average_map(found, 0, 1)
    assert average.to_nothing.min() > 0
    torch.testing.assert_close(average.mean.sum(-1) + average.to_nothing, torch.ones(9))
