"""Match reports and their one-line summaries, with the source of every copied word."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..arguments import Seed, checked
from ..tokenizers import WordTokenizer
from .batches import check_counts
from .pairs import Pair, PairData

TEAMS = [
    "Harbour",
    "Northgate",
    "Riverside",
    "Millbrook",
    "Ashford",
    "Eastmoor",
    "Kingsley",
    "Larkhill",
    "Penrose",
    "Stonebridge",
    "Westerly",
    "Thornton",
    "Oakfield",
    "Fairview",
    "Redcliff",
    "Summerton",
]
PLAYERS = [
    "Okafor",
    "Lindqvist",
    "Moreau",
    "Tanaka",
    "Petrov",
    "Silva",
    "Haddad",
    "Novak",
    "Byrne",
    "Castillo",
    "Dogan",
    "Eriksen",
    "Fontaine",
    "Georgiou",
    "Ibrahim",
    "Jansen",
    "Keita",
    "Laurent",
    "Mbeki",
    "Olsen",
]
GROUNDS = "Meadow Lane|Canal Street|the old ground|the new stadium|Orchard Park|the town field"
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

OPENINGS = (
    "On {day} {home} met {away} at {ground} before {crowd} people .",
    "{crowd} people came to {ground} on {day} when {home} played {away} .",
    "It was {home} against {away} on {day} , with {crowd} people at {ground} .",
)
WEATHER = (
    "Rain fell until the break .",
    "The evening was cold and clear .",
    "A strong wind made passing hard .",
    "Both sides began with care .",
)
FIRST_GOALS = (
    "{first} opened the scoring in minute {early} .",
    "The first goal came from {first} in minute {early} .",
    "In minute {early} {first} broke the deadlock .",
)
OTHER_NEWS = (
    "{other} struck the post in minute {late} .",
    "In minute {late} {other} had to come off .",
    "{other} saw a yellow card in minute {late} .",
)
RESULTS = (
    "At the end {winner} had won {more} to {less} over {loser} .",
    "{loser} lost it {less} to {more} , and {winner} went home happy .",
    "The board showed {more} for {winner} and {less} for {loser} .",
    "So {loser} had {less} and {winner} had {more} at the whistle .",
)
SUMMARY = "{winner} beat {loser} {more} - {less} ; {first} scored first ."


@checked
def reports(*, size: int = 20_000, held_out: int = 1000, seed: Seed = 0) -> PairData:
    """Generate match reports of about 50 words, to summarise in one line of 11.

    "… Okafor opened the scoring in minute 12 . … At the end Harbour had won 3 to 1 over Penrose ."
    → "Harbour beat Penrose 3 - 1 ; Okafor scored first ." The summary must leave out the
    day, the crowd, the weather and another player, whatever the order and wording of the sentences
    in the middle.

    Args:
        size: number of training reports.
        held_out: number of held-out reports.
        seed: generates the reports.

    Returns:
        Pairs whose alignment gives, for each copied word (the slots: teams, goals, first scorer),
        every position in the report where that team, number or player is named; for the words of
        the frame, none.
    """
    check_counts(size=size, held_out=held_out)
    rng = random.Random(seed)
    made: dict[str, Pair] = {}
    while len(made) < size + held_out:
        pair = _report(rng)
        made.setdefault(pair.source, pair)
    pairs = list(made.values())
    tokenizer = WordTokenizer.train(_every_word())
    return PairData("match reports", tokenizer, pairs[held_out:], pairs[:held_out])


def _report(rng: random.Random) -> Pair:
    home, away = rng.sample(TEAMS, 2)
    first, other = rng.sample(PLAYERS, 2)
    less = rng.randrange(4)
    early = rng.randrange(10, 45)
    winner, loser = (home, away) if rng.random() < 0.5 else (away, home)
    facts = {
        "home": home,
        "away": away,
        "winner": winner,
        "loser": loser,
        "more": str(less + rng.randrange(1, 4)),
        "less": str(less),
        "first": first,
        "other": other,
        "early": str(early),
        "late": str(rng.randrange(early + 1, 91)),
        "day": rng.choice(DAYS),
        "ground": rng.choice(_GROUNDS),
        "crowd": str(rng.randrange(10, 90) * 100),
    }
    middle = [rng.choice(part) for part in (WEATHER, FIRST_GOALS, OTHER_NEWS)]
    rng.shuffle(middle)
    frames = [rng.choice(OPENINGS), *middle, rng.choice(RESULTS)]
    words, slots = _fill(" ".join(frames), facts)
    places: dict[str, list[int]] = {}
    for position, slot in enumerate(slots):
        places.setdefault(_SAME[winner == home].get(slot, slot), []).append(position)
    target, wanted = _fill(SUMMARY, facts)
    alignment = tuple(tuple(places[slot]) if slot else () for slot in wanted)
    return Pair(" ".join(words), " ".join(target), alignment)


# Which team won and which lost, by whether the home side won.
_SAME = ({"home": "loser", "away": "winner"}, {"home": "winner", "away": "loser"})
_GROUNDS = tuple(GROUNDS.split("|"))


def _fill(frame: str, facts: dict[str, str]) -> tuple[list[str], list[str]]:
    """The words of a frame, and for each the slot that it fills ("" for the frame's own)."""
    words, slots = [], []
    for word in frame.split():
        slot = word[1:-1] if word[0] == "{" else ""
        for part in facts[slot].split() if slot else [word]:
            words.append(part)
            slots.append(slot)
    return words, slots


def _every_word() -> Sequence[str]:
    frames = [*OPENINGS, *WEATHER, *FIRST_GOALS, *OTHER_NEWS, *RESULTS, SUMMARY]
    plain = [word for frame in frames for word in frame.split() if word[0] != "{"]
    numbers = [str(n) for n in [*range(91), *range(1000, 9000, 100)]]
    return [*plain, *numbers, *TEAMS, *PLAYERS, *DAYS, *_GROUNDS]
