"""Checks for lesson 09, BERT."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.probes_09 import PROBE
from transformer_lab.lessons.solutions import lesson_09 as solutions


def _words(seed: int, texts: int, places: int, mask_id: int, *, padding: int = 0) -> tuple:
    """Arguments of `mask_words` in which every fate occurs, at every kind of position."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(10, 60, (texts, places), generator=draw)
    may_hide = torch.ones(texts, places, dtype=torch.bool)
    may_hide[:, 0] = False
    if padding:
        may_hide[-1, -padding:] = False
    chance = torch.rand(texts, places, generator=draw) * 0.35  # many of them below 0.15
    fate = torch.rand(texts, places, generator=draw)
    fate[:, 2::3] = 0.8 + 0.2 * torch.rand(texts, len(range(2, places, 3)), generator=draw)
    other = torch.randint(60, 90, (texts, places), generator=draw)
    return tokens, may_hide, chance, fate, other, mask_id


def _mask_cases() -> list[Case]:
    return [
        Case("three texts of 24 words", _words(1, 3, 24, 4)),
        Case("two texts, one with padding", _words(2, 2, 18, 7, padding=6)),
        Case("a single text", _words(3, 1, 30, 4)),
    ]


def _parts(tokens, may_hide, chance, fate, other, mask_id, *, rate=0.15):
    chosen = may_hide & (chance < rate)
    shown = torch.where(chosen & (fate < 0.8), mask_id, tokens)
    shown = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), other, shown)
    return chosen, shown


def _all_as_mask(tokens, may_hide, chance, fate, other, mask_id):
    chosen, _ = _parts(tokens, may_hide, chance, fate, other, mask_id)
    return torch.stack([torch.where(chosen, mask_id, tokens), torch.where(chosen, tokens, -100)])


def _never_as_it_is(tokens, may_hide, chance, fate, other, mask_id):
    chosen, _ = _parts(tokens, may_hide, chance, fate, other, mask_id)
    shown = torch.where(chosen, torch.where(fate < 0.8, mask_id, other), tokens)
    return torch.stack([shown, torch.where(chosen, tokens, -100)])


def _labels_everywhere(tokens, *rest):
    _, shown = _parts(tokens, *rest)
    return torch.stack([shown, tokens])


def _labels_of_what_is_shown(tokens, *rest):
    chosen, shown = _parts(tokens, *rest)
    return torch.stack([shown, torch.where(chosen, shown, -100)])


def _labels_at_masks_only(tokens, may_hide, chance, fate, other, mask_id):
    _, shown = _parts(tokens, may_hide, chance, fate, other, mask_id)
    return torch.stack([shown, torch.where(shown == mask_id, tokens, -100)])


def _labels_where_changed(tokens, *rest):
    _, shown = _parts(tokens, *rest)
    return torch.stack([shown, torch.where(shown != tokens, tokens, -100)])


def _labels_inverted(tokens, *rest):
    chosen, shown = _parts(tokens, *rest)
    return torch.stack([shown, torch.where(chosen, -100, tokens)])


def _zero_for_not_asked(tokens, *rest):
    chosen, shown = _parts(tokens, *rest)
    return torch.stack([shown, torch.where(chosen, tokens, 0)])


def _special_too(tokens, may_hide, *rest):
    return solutions.mask_words(tokens, torch.ones_like(may_hide), *rest)


def _too_many(tokens, may_hide, chance, fate, other, mask_id):
    chosen, shown = _parts(tokens, may_hide, chance, fate, other, mask_id, rate=0.85)
    return torch.stack([shown, torch.where(chosen, tokens, -100)])


def _turned(tokens, *rest):
    return solutions.mask_words(tokens, *rest).flip(0)


_MASK = Grader(
    name="09/mask_words",
    cases=_mask_cases,
    reference=solutions.mask_words,
    shape_hint="`torch.stack([shown, labels])`, which is `[2, text, position]`",
    suspects=(
        Suspect(
            "always <mask>",
            _all_as_mask,
            "Every chosen word became `<mask>`. Only those with `fate < 0.8` should; the next tenth "
            "becomes the word in `other`, and the last tenth stays as it is.",
        ),
        Suspect(
            "never as it is",
            _never_as_it_is,
            "No chosen word stays as it is. Where `fate >= 0.9`, the original word should stay, "
            "and still have a label.",
        ),
        Suspect(
            "labels everywhere",
            _labels_everywhere,
            "Every word has a label. Where nothing was chosen, the label should be −100: no label.",
        ),
        Suspect(
            "labels of what is shown",
            _labels_of_what_is_shown,
            "Your labels are what the model *sees*. They should be the original words: `tokens`.",
        ),
        Suspect(
            "labels at <mask> only",
            _labels_at_masks_only,
            "Only the positions with `<mask>` have a label. All chosen positions should: also those "
            "with another word, and those that stay as they are.",
        ),
        Suspect(
            "labels where something changed",
            _labels_where_changed,
            "Chosen words that stay as they are have no label. They need one, too.",
        ),
        Suspect(
            "labels inverted",
            _labels_inverted,
            "The labels are the wrong way round: −100 belongs where *no* word was chosen.",
        ),
        Suspect(
            "0 for not asked",
            _zero_for_not_asked,
            "You used 0 for “no label”. 0 is a token; the loss ignores −100.",
        ),
        Suspect(
            "special tokens hidden",
            _special_too,
            "You also chose positions where `may_hide` is False: `<s>`, `</s>` and padding.",
        ),
        Suspect(
            "85 % chosen",
            _too_many,
            "You chose 85 % of the words. A position is chosen where `chance` is *below* 0.15.",
        ),
        Suspect(
            "labels first",
            _turned,
            "The two are in the wrong order: what the model sees comes first, then the labels.",
        ),
    ),
)  # fmt: skip


def _states(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _real(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def _vector_cases() -> list[Case]:
    in_front = _real(5, 2).flip(-1)
    return [
        Case("three texts of 6, 4 and 1 words", (_states(1, 3, 6, 8), _real(6, 4, 1))),
        Case("two texts with padding in front", (_states(2, 2, 5, 4), in_front)),
        Case("one text without padding", (_states(3, 1, 4, 8), _real(4))),
    ]


_VECTOR = Grader(
    name="09/sentence_vector",
    cases=_vector_cases,
    reference=solutions.sentence_vector,
    shape_hint="`[text, d]`: one vector for each text",
    suspects=(
        Suspect(
            "padding counted",
            lambda states, real: states.mean(-2),
            "You count padding, both in the sum and in the number. Only positions where `real` "
            "is True should count.",
        ),
        Suspect(
            "divided by all places",
            lambda states, real: (states * real[..., None]).mean(-2),
            "The sum leaves padding out, but you divide by all positions. Divide by the number of "
            "real ones.",
        ),
        Suspect(
            "sum",
            lambda states, real: (states * real[..., None]).sum(-2),
            "That is the sum over the words. Divide it by how many there are, or long texts weigh more.",
        ),
        Suspect(
            "mask inverted",
            lambda states, real: (states * ~real[..., None]).sum(-2) / (~real).sum(-1, keepdim=True),
            "You took the mean over the *padding*. True means a real word.",
        ),
        Suspect(
            "first token",
            lambda states, real: states[:, 0],
            "That is the vector of the first token. BERT does it that way, but this exercise wants "
            "the mean.",
        ),
        Suspect(
            "one number for all texts",
            lambda states, real: (states * real[..., None]).sum(-2) / real.sum(),
            "You divide by the number of words in all texts together. Each text has its own number.",
        ),
    ),
)  # fmt: skip

GRADERS = (_MASK, _VECTOR, PROBE)
