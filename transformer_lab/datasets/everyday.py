"""English sentences of everyday life and their German translations, from a grammar of both."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from ..arguments import Seed, checked
from ..tokenizers import Tokenizer
from . import everyday_words as words
from .batches import check_counts
from .corpora import make_tokenizer
from .pairs import Pair, PairData

CASES = ("nominative", "accusative", "dative")
# Endings by gender (p: plural), each for the three cases.
THE = {"m": "der den dem", "f": "die die der", "n": "das das dem", "p": "die die den"}
A = {"m": "- en em", "f": "e e er", "n": "- - em", "p": "e e en"}
AFTER_THE = {"m": "e en en", "f": "e e en", "n": "e e en", "p": "en en en"}
AFTER_A = {"m": "er en en", "f": "e e en", "n": "es es en", "p": "en en en"}
ALONE = {"m": "er en em", "f": "e e er", "n": "es es em", "p": "e e en"}
WHO = {"m": "der den dem", "f": "die die der", "n": "das das dem", "p": "die die denen"}
# English subject, object | German, three cases | person, possessive in English and German
PRONOUNS = {
    "I": ("I", "me", "ich mich mir", "1s", "my", "mein"),
    "we": ("we", "us", "wir uns uns", "1p", "our", "unser"),
    "m": ("he", "him", "er ihn ihm", "3s", "his", "sein"),
    "f": ("she", "her", "sie sie ihr", "3s", "her", "ihr"),
    "p": ("they", "them", "sie sie ihnen", "3p", "their", "ihr"),
}
IT = {"m": "er ihn ihm", "f": "sie sie ihr", "n": "es es ihm", "p": "sie sie ihnen"}
AUXILIARIES = {"h": "habe hat haben", "s": "bin ist sind", "future": "werde wird werden"}
ROUND = ("on", "off", "up", "away", "back", "along")  # particles that a pronoun comes before


@dataclass(frozen=True)
class Phrase:
    """A noun phrase in both languages.

    Attributes:
        key: the noun, whatever its article, number and adjective.
        english: as a subject; `object` otherwise.
        german: nominative, accusative, dative.
        gender: m, f, n, or p for a plural.
        who: the key of PRONOUNS that stands for it as a subject, or "" (a thing, a neuter).
        kind: "pronoun", "a" (indefinite), "count" (two, three) or "the".
    """

    key: str
    english: str
    object: str
    german: tuple[str, ...]
    gender: str
    who: str
    kind: str = "the"

    @property
    def person(self) -> str:
        return PRONOUNS[self.who][3] if self.who else ("3p" if self.gender == "p" else "3s")


@dataclass(frozen=True)
class Verb:
    """A verb with its complements; see `words.VERBS`."""

    english: tuple[str, ...]  # base, he, -ing, past, participle
    particle: str
    german: tuple[str, ...]  # infinitive, er, ich (without prefix), participle, auxiliary, du!
    prefix: str
    takes: tuple[str, str]  # complements in English and in German
    objects: tuple[str, ...]
    marks: str

    @property
    def key(self) -> str:
        return " ".join((self.english[0], self.particle)).strip()


@dataclass(frozen=True)
class Clause:
    """A clause for both languages. `tense`: now, habit, past, perfect, future, or a modal's base
    form."""

    subject: Phrase
    verb: Verb
    accusative: Phrase | None = None
    dative: Phrase | None = None
    place: tuple[str, str] = ("", "")
    when: tuple[str, str] = ("", "")
    tense: str = "now"
    negative: bool = False

    @property
    def said(self) -> set[tuple[str, str]]:
        """Pairs of the verb and a thing, person or place: one is new in a held-out sentence."""
        of = [p.key for p in (self.accusative, self.dative) if p is not None]
        return {(self.verb.key, key) for key in [*of, *filter(None, [self.place[0]])]}


# ------------------------------------------------------------------------------ noun phrases


@cache
def _things() -> dict[str, tuple[str, ...]]:
    rows = [
        [part.strip() for part in line.split("|")] for line in words.THINGS.strip().splitlines()
    ]
    return {
        english.split()[0]: (*english.split(), *german.split(), dets, adjectives)
        for english, german, dets, adjectives in rows
    }


@cache
def _adjectives() -> dict[str, str]:
    pairs = words.ADJECTIVES.strip().replace("\n", "|").split("|")
    return dict(tuple(pair.split()) for pair in pairs)  # type: ignore[misc]


def _ending(table: dict[str, str], gender: str, case: int) -> str:
    return table[gender].split()[case].strip("-")


def _noun(german: str, oblique: str, gender: str, case: int) -> str:
    """A noun in its case: weak nouns have another form, plurals an -n in the dative."""
    if gender == "p" and case == 2 and german[-1] not in "ns":
        return german + "n"
    return german if case == 0 else oblique


def _declined(
    article: str, adjective: str, german: str, gender: str, oblique: str = ""
) -> tuple[str, ...]:
    """A phrase in its three cases. article: "the", a stem ("ein", "unser"), a number, or ""."""
    cases = []
    for case in range(3):
        number = article in ("zwei", "drei")
        if article == "the":
            first, endings = _ending(THE, gender, case), AFTER_THE
        elif article and not number:
            first, endings = article + _ending(A, gender, case), AFTER_A
        else:
            first, endings = article, ALONE
        described = adjective and adjective + _ending(endings, gender, case)
        if described.startswith("dunkel"):
            described = described.replace("dunkel", "dunkl")
        parts = (first, described, _noun(german, oblique or german, gender, case))
        cases.append(" ".join(filter(None, parts)))
    return tuple(cases)


def _thing(rng: random.Random, key: str, owner: Phrase) -> Phrase:
    """A thing with an article, and perhaps an adjective."""
    one, many, gender, german, plural, dets, adjectives = _things()[key]
    kinds = [d for d in dets if d != "o" or owner.who]
    kind = rng.choice([*kinds, *kinds[:1]])
    bare = kind == "P" and rng.random() < 0.4
    plenty = kind in "pPQ"
    noun, german, gender = (many, plural, "p") if plenty else (one, german, gender)
    stem, article = "the", "the"
    if kind == "o" or (kind == "P" and key == "shoe" and not bare and owner.who):
        article, stem = PRONOUNS[owner.who][4], PRONOUNS[owner.who][5]
    elif kind == "i":
        article, stem = "a", "ein"
    elif kind == "m" or bare:
        article = stem = ""
    elif kind == "p" and rng.random() < 0.5:
        article, stem = rng.choice([("two", "zwei"), ("three", "drei")])
    adjective = rng.choice(adjectives.split()) if adjectives and rng.random() < 0.3 else ""
    if adjective in ("last", "next") and article != "the":
        adjective = ""
    english = " ".join(filter(None, [article, adjective, noun]))
    if article == "a" and english[2] in "aeiou":
        english = "an" + english[1:]
    cases = _declined(stem, _adjectives().get(adjective, ""), german, gender)
    sort = "a" if article in ("a", "") else "count" if article in ("two", "three") else "the"
    return Phrase(key, english, english, cases, gender, "", sort)


def _none(phrase: Phrase) -> Phrase:
    """Negate an indefinite phrase: "kein Buch"."""
    first = phrase.german[0].split()[0]
    rest = [case.split() for case in phrase.german]
    if first.startswith("ein"):
        return replace(phrase, german=tuple("k" + case for case in phrase.german))
    denied = []
    for case, parts in enumerate(rest):
        article = "kein" + _ending(A, phrase.gender, case)
        if len(parts) > 1:  # the adjective's strong ending becomes a mixed one
            strong = _ending(ALONE, phrase.gender, case)
            parts[0] = parts[0].removesuffix(strong) + _ending(AFTER_A, phrase.gender, case)
        denied.append(" ".join([article, *parts]))
    return replace(phrase, german=tuple(denied))


@cache
def _people() -> tuple[Phrase, ...]:
    people = []
    for line in words.PEOPLE.strip().splitlines():
        english, german = (part.strip() for part in line.split("|"))
        gender, *parts = german.split()
        if len(parts) == 1:  # a name
            cases = tuple(parts * 3)
        else:
            article = "the" if parts[0] in ("der", "die", "das") else parts[0]
            stem = article if article == "the" else article.removesuffix("e")
            cases = _declined(stem, "", parts[1], gender, parts[2] if parts[2:] else "")
        who = "" if gender == "n" else gender
        people.append(Phrase(english, english, english, cases, gender, who))
    return tuple(people)


def _pronoun(who: str) -> Phrase:
    subject, object_, german, *_ = PRONOUNS[who]
    gender = "p" if who in ("we", "p") else "m" if who == "I" else who
    return Phrase(who, subject, object_, tuple(german.split()), gender, who, "pronoun")


def _subject(rng: random.Random) -> Phrase:
    return (
        _pronoun(rng.choice(["I", "we", "m", "f", "p"]))
        if rng.random() < 0.3
        else rng.choice(_people())
    )


def _person(rng: random.Random, subject: Phrase) -> Phrase:
    """Somebody other than the subject."""
    choice = rng.random()
    if choice < 0.15:
        whos = {"I", "we", "m", "f", "p"} - {subject.who}
        whos -= {"I": {"we"}, "we": {"I"}}.get(subject.who, set())
        return _pronoun(rng.choice(sorted(whos)))
    if choice < 0.4 and subject.who:
        noun, gender, german = rng.choice(words.RELATIVES.split("|")).split()
        _, _, _, _, mine, stem = PRONOUNS[subject.who]
        cases = _declined(stem, "", german, gender)
        if (phrase := f"{mine} {noun}") != subject.english:
            return Phrase(noun, phrase, phrase, cases, gender, gender)
    return rng.choice([p for p in _people() if p.key != subject.key])


# ------------------------------------------------------------------------------ verbs and clauses


@cache
def _verbs() -> tuple[Verb, ...]:
    verbs = []
    for line in words.VERBS.strip().splitlines():
        english, german, takes, gives, objects, marks = (p.strip() for p in line.split("|"))
        forms, (*parts,) = english.split(), german.split()
        verbs.append(
            Verb(
                tuple(forms[:5]),
                " ".join(forms[5:]),
                tuple(parts[:6]),
                "".join(parts[6:]),
                (takes, gives),
                tuple(objects.split()),
                marks,
            )
        )
    return tuple(verbs)


def _clause(
    rng: random.Random, subject: Phrase, verb: Verb, tense: str, *, negative: bool = False
) -> Clause:
    """A clause with objects that fit the verb, and sometimes a time that fits the tense."""
    clause = Clause(subject, verb, tense=tense, negative=negative)
    slots = [slot for slot in ("accusative", "dative") if f"{{{slot[0]}}}" in verb.takes[0]]
    if "PLACE" in verb.takes[0]:
        name, german = rng.choice(verb.objects).split("=")
        the = name.endswith("+the")
        name = name.removesuffix("+the")
        to = f"to the {name}" if the else f"to {name}"
        return _timed(rng, replace(clause, place=(to, german.replace("_", " "))))
    for slot in slots:
        is_person = slot == "dative" and len(slots) == 2
        key = "PEOPLE" if is_person else rng.choice(verb.objects * 2 if verb.objects else ("",))
        if key == "PEOPLE":
            phrase = _person(rng, subject)
        else:
            phrase = _thing(rng, key, subject)
        clause = replace(clause, **{slot: phrase})
    return _timed(rng, clause)


def _timed(rng: random.Random, clause: Clause) -> Clause:
    kind = {"past": "past", "future": "future", "now": "now", "habit": "habit"}.get(clause.tense)
    if clause.tense == "perfect":
        return replace(clause, when=("-already", "schon"))
    likely = 1.0 if clause.tense == "habit" else 0.5
    if kind is None or clause.negative or "s" in clause.verb.marks or rng.random() > likely:
        return clause
    english, german = rng.choice(words.WHEN[kind].split(",")).split("|")
    return replace(clause, when=(english, german))


def _form(forms: str | tuple[str, ...], person: str) -> str:
    """The form for a person, from those for ich, er, wir."""
    every = forms.split() if isinstance(forms, str) else forms
    return every[{"1s": 0, "3s": 1}.get(person, 2)]


@cache
def _modals() -> dict[str, tuple[list[str], str]]:
    rows = [line.split("|") for line in words.MODALS.strip().splitlines()]
    return {
        english.split()[0]: ([f.replace("_", " ") for f in english.split()], german)
        for english, german in rows
    }


def _german_verb(clause: Clause) -> tuple[str, list[str]]:
    """The finite verb, and what closes the clause."""
    verb, person = clause.verb, clause.subject.person
    infinitive, third, first, participle, auxiliary = verb.german[:5]
    if clause.tense in ("past", "perfect"):
        return _form(AUXILIARIES[auxiliary], person), [participle]
    if clause.tense == "future":
        return _form(AUXILIARIES["future"], person), [verb.prefix + infinitive]
    if clause.tense in _modals():
        return _form(_modals()[clause.tense][1], person), [verb.prefix + infinitive]
    return _form((first, third, infinitive), person), list(filter(None, [verb.prefix]))


def _middle(clause: Clause) -> list[str]:
    """What comes between the finite verb and the end: pronouns, time, dative, accusative, "nicht",
    …"""
    before, _, after = clause.verb.takes[1].partition(">")
    accusative, dative = clause.accusative, clause.dative
    denied = clause.negative
    if denied and accusative and "{a}" in before and accusative.kind == "a":
        accusative, denied = _none(accusative), False
    phrases = {"{a}": (accusative or dative, 1), "{d}": (dative or accusative, 2)}
    first, then, definite = [], [], True
    reflexive = {"1s": "mich", "1p": "uns"}.get(clause.subject.person, "sich")
    for part in before.split():
        if part == "{r}":
            first.append(reflexive)
            continue
        phrase, case = phrases[part]
        assert phrase is not None
        definite = definite and phrase.kind != "a"
        # A pronoun comes before the time.
        (first if phrase.kind == "pronoun" else then).append(phrase.german[case])
    time = [clause.when[1]] if clause.when[1] else []
    late = clause.when[0] == "-already" and definite
    closing = after.replace("PLACE", clause.place[1])
    for part, (phrase, case) in phrases.items():
        if part in closing:
            assert phrase is not None
            closing = closing.replace(part, phrase.german[case])
    parts = [*first, *then, *time] if late else [*first, *time, *then]
    return [*parts, *(["nicht"] if denied else []), *closing.split()]


def german(clause: Clause, order: str = "main") -> str:
    """A clause in German.

    order: "main", "front" (the time comes first), "inverted" (after another clause), "question",
    "last" (the finite verb at the end), "to" (infinitive with zu) or "please" (an imperative).
    """
    finite, end = _german_verb(clause)
    verb, subject, middle = clause.verb, clause.subject.german[0], _middle(clause)
    inner = [subject, *middle]
    if "{r}" in verb.takes[1] and clause.subject.kind == "the":
        inner = [middle[0], subject, *middle[1:]]  # "sich" comes before a noun
    if order == "last":
        separable = end and end[0] == verb.prefix
        parts = [*inner, *([verb.prefix + finite] if separable else [*end, finite])]
    elif order == "to":
        infinitive = verb.german[0]
        closing = f"{verb.prefix}zu{infinitive}" if verb.prefix else f"zu {infinitive}"
        parts = [*middle, closing]
    elif order == "please":
        phrases = (clause.accusative, clause.dative)
        direct = not verb.takes[1].startswith(">")
        at = int(direct and any(p is not None and p.kind == "pronoun" for p in phrases))
        parts = [verb.german[5], *middle[:at], "bitte", *middle[at:], verb.prefix]
    elif order in ("question", "inverted"):
        parts = [finite, *inner, *end]
    elif order == "front":
        untimed = german(replace(clause, when=("", "")), "inverted")
        parts = [clause.when[1], untimed]
    else:
        parts = [subject, finite, *middle, *end]
    return " ".join(filter(None, parts))


def _english_verb(clause: Clause) -> tuple[str, str]:
    """Auxiliary ("" for none) and verb."""
    base, he, ing, past, participle = clause.verb.english
    person = clause.subject.person
    if clause.tense == "now" and "s" not in clause.verb.marks:
        return _form("am is are", person), ing
    if clause.tense == "past":
        return "", past
    if clause.tense == "perfect":
        return _form("have has have", person), participle
    if clause.tense == "future":
        return "will", base
    if clause.tense in _modals():
        first, *rest = _form(tuple(_modals()[clause.tense][0]), person).split()
        return first, " ".join([*rest, base])
    return "", he if person == "3s" else base


def english(clause: Clause, order: str = "main") -> str:
    """A clause in English. order: "main", "front" (time first), "question", "to" or "please"."""
    auxiliary, verb = _english_verb(clause)
    base = clause.verb.english[0]
    if order in ("to", "please"):
        return " ".join(filter(None, [base, *_complement(clause)]))
    if not auxiliary and (clause.negative or order == "question"):
        auxiliary = "did" if clause.tense == "past" else _form("do does do", clause.subject.person)
        verb = base
    refused = "not" if clause.negative else ""
    if auxiliary == "can" and refused:
        auxiliary, refused = "cannot", ""
    middle = clause.when[0][1:] if clause.when[0].startswith("-") else ""
    closing = "" if middle or order == "front" else clause.when[0]
    first = clause.when[0] if order == "front" else ""
    subject = clause.subject.english
    start = [auxiliary, subject] if order == "question" else [subject, auxiliary]
    parts = [first, *start, refused, middle, verb, *_complement(clause), closing]
    return " ".join(filter(None, parts))


def _complement(clause: Clause) -> list[str]:
    """What follows the verb in English."""
    verb = clause.verb
    particle, takes = verb.particle, verb.takes[0].replace("PLACE", clause.place[0])
    takes = takes.replace("{d}", clause.dative.object if clause.dative else "")
    thing = clause.accusative
    if thing is not None and thing.kind == "pronoun" and particle in ROUND:
        return [takes.replace("{a}", f"{thing.object} {particle}")]
    return [particle, takes.replace("{a}", thing.object if thing else "").strip()]


# ------------------------------------------------------------------------------ sentences

Made = tuple[str, str, set[tuple[str, str]]]


def _fit(rng: random.Random, marks: str = "", without: str = "") -> Verb:
    """A verb with one of these marks (any, if none is named), and none of the others."""
    return rng.choice(
        [
            verb
            for verb in _verbs()
            if (not marks or any(m in verb.marks for m in marks))
            and not any(m in verb.marks for m in without)
        ]
    )


def _tense(rng: random.Random, verb: Verb) -> str:
    if "e" in verb.marks:
        return rng.choice(["past", "perfect"])
    if "f" in verb.marks:
        return rng.choice(["past", "perfect", "future"])
    if "s" in verb.marks:
        return rng.choice(["habit", "past"])
    often = ["now"] if "r" in verb.marks else ["habit"]
    return rng.choice(["now", "now", *often, "past", "past", "perfect", "future"])


def _any(rng: random.Random, subject: Phrase | None = None) -> Clause:
    verb = rng.choice(_verbs())
    clause = _clause(rng, subject or _subject(rng), verb, _tense(rng, verb))
    no = clause.accusative is not None and clause.accusative.kind == "count"
    denied = not clause.when[0] and "n" not in verb.marks and not no and rng.random() < 0.3
    return replace(clause, negative=bool(denied))


def _plain(rng: random.Random) -> Made:
    clause = _any(rng)
    front = clause.when[0] and not clause.when[0].startswith("-") and rng.random() < 0.5
    order = "front" if front else "main"
    return english(clause, order) + ".", german(clause, order) + ".", clause.said


def _modal(rng: random.Random) -> Made:
    tense = rng.choice(list(_modals()))
    no = tense == "can" and rng.random() < 0.4
    clause = _clause(rng, _subject(rng), _fit(rng, without="sefn"), tense)
    counted = clause.accusative is not None and clause.accusative.kind == "count"
    clause = replace(clause, negative=no and not counted)
    return english(clause) + ".", german(clause) + ".", clause.said


def _question(rng: random.Random) -> Made:
    clause = replace(_any(rng, _other(rng)), negative=False)
    if rng.random() < 0.2 and not set(clause.verb.marks) & set("sefn"):
        clause = replace(clause, tense=rng.choice(["can", "should"]), when=("", ""))
    asked = rng.choice([("", ""), ("", ""), ("why", "warum"), ("when", "wann")])
    if clause.tense not in ("past", "future") and (asked[0] == "when" or clause.tense != "now"):
        asked = ("", "")
    if asked[0] == "when":
        clause = replace(clause, when=("", ""))
    texts = english(clause, "question"), german(clause, "question")
    said = [f"{word} {text}".strip() + "?" for word, text in zip(asked, texts, strict=True)]
    return said[0], said[1], clause.said


def _other(rng: random.Random) -> Phrase:
    """A subject other than the speaker."""
    subject = _subject(rng)
    return subject if subject.who not in ("I", "we") else _other(rng)


def _pronominal(rng: random.Random) -> Phrase:
    return rng.choice([p for p in _people() if p.who] + [_pronoun(who) for who in PRONOUNS])


def _row(rng: random.Random, table: str, person: str) -> tuple[str, ...]:
    """A line of a table of forms for I, he, we: English, German, and the rest of the line."""
    parts = rng.choice(table.strip().splitlines()).split("|")
    return _form(tuple(parts[:3]), person), _form(tuple(parts[3:6]), person), *parts[6:]


def _because(rng: random.Random) -> Made:
    subject, no = _pronominal(rng), rng.random() < 0.5
    verb = _fit(rng, "dc" if no else "", "sefn")
    clause = _clause(rng, subject, verb, rng.choice(["now", "future"] if no else ["now", "past"]))
    no = no and not (clause.accusative and clause.accusative.kind == "count")
    if no:
        clause = replace(clause, when=("", ""), negative=True)
    reasons = words.PAST_REASONS if clause.tense == "past" else words.REASONS
    why, warum = _row(rng, words.OBSTACLES if no else reasons, subject.person)
    who = _pronoun(subject.who)
    texts = (
        f"{english(clause)} because {who.english} {why}.",
        (f"{german(clause)}, weil {who.german[0]} {warum}."),
    )
    return *texts, clause.said


def _that(rng: random.Random) -> Made:
    start, beginnt = (p.strip() for p in rng.choice(words.THAT.strip().splitlines()).split("|"))
    clause = _any(rng, _other(rng))
    return f"{start} {english(clause)}.", f"{beginnt} {german(clause, 'last')}.", clause.said


def _although(rng: random.Random) -> Made:
    subject = _pronominal(rng)
    clause = _clause(rng, subject, _fit(rng, "dc", "sefn"), "now")
    clause = replace(clause, when=("", ""))
    why, warum = _row(rng, words.OBSTACLES, subject.person)
    who = _pronoun(subject.who)
    return (
        f"although {who.english} {why}, {english(clause)}.",
        f"obwohl {who.german[0]} {warum}, {german(clause, 'inverted')}.",
        clause.said,
    )


def _weather(rng: random.Random) -> Made:
    where = rng.choice("io")
    clause = replace(_clause(rng, _subject(rng), _fit(rng, where, "sef"), "future"), when=("", ""))
    if_, wenn = rng.choice(words.WEATHER[where].split(",")).split("|")
    if rng.random() < 0.5:
        return f"{if_}, {english(clause)}.", f"{wenn}, {german(clause, 'inverted')}.", clause.said
    return f"{english(clause)} {if_}.", f"{german(clause)}, {wenn}.", clause.said


def _before(rng: random.Random) -> Made:
    subject = _pronominal(rng)
    clause = _clause(rng, subject, _fit(rng, "c", "sefn"), rng.choice(["habit", "future"]))
    clause = replace(clause, when=("", ""))
    what, was = _row(rng, words.BEFORE, subject.person)
    who = _pronoun(subject.who)
    return (
        f"before {who.english} {what}, {english(clause)}.",
        f"bevor {who.german[0]} {was}, {german(clause, 'inverted')}.",
        clause.said,
    )


def _while(rng: random.Random) -> Made:
    one, other = rng.sample(_people(), 2)
    first, then = (
        replace(_clause(rng, who, _fit(rng, "d", "sef"), "now"), when=("", ""))
        for who in (one, other)
    )
    return (
        f"while {english(first)}, {english(then)}.",
        f"während {german(first, 'last')}, {german(then, 'inverted')}.",
        first.said | then.said,
    )


def _who(rng: random.Random) -> Made:
    person = rng.choice([p for p in _people() if p.english.startswith("the ")])
    rel = tuple(WHO[person.gender].split())
    subject = replace(person, english="who", german=rel, kind="who")
    clause = _any(rng, subject)
    plural = person.gender == "p"
    start, case = rng.choice(
        [
            (("those are", "das sind") if plural else ("that is", "das ist"), 0),
            (("do you know", "kennst du"), 1),
            (("I am looking for", "ich suche"), 1),
        ]
    )
    end = "?" if start[1] == "kennst du" else "."
    return (
        f"{start[0]} {person.english} {english(clause)}{end}",
        f"{start[1]} {person.german[case]}, {german(clause, 'last')}{end}",
        clause.said,
    )


LEFT = {
    "eat",
    "drink",
    "throw away",
    "cook",
    "lose",
    "forget",
    "pay",
    "wash",
}  # then the thing is gone, and cannot be described


def _which(rng: random.Random) -> Made:
    """A thing, what somebody does with it, and what it is like."""
    verbs = [v for v in _verbs() if v.takes == ("{a}", "{a}") and v.key not in LEFT]
    nouns = [(v, n) for v in verbs for n in v.objects if n != "PEOPLE" and "d" in _things()[n][5]]
    verb, noun = rng.choice([(v, n) for v, n in nouns if _things()[n][6]])
    one, _, gender, german_, _, _, adjectives = _things()[noun]
    tense = rng.choice(["now", "past"]) if not set(verb.marks) & set("ef") else "past"
    subject = _subject(rng)
    phrase = Phrase(noun, "", "", tuple(WHO[gender].split()), gender, "")
    clause = _timed(rng, Clause(subject, replace(verb, takes=("", "")), tense=tense))
    like = rng.choice([a for a in adjectives.split() if a not in ("last", "next")] or ["old"])
    german_like = _adjectives()[like]
    said = english(clause)
    return (
        f"the {one} that {said} is {like}.",
        f"{_declined('the', '', german_, gender)[0]}, {phrase.german[1]} {german(clause, 'last')}, "
        f"ist {'dunkel' if german_like == 'dunkl' else german_like}.",
        {(verb.key, noun)},
    )


def _please(rng: random.Random) -> Made:
    asked = [v for v in _verbs() if v.german[5] != "-" and "{" in v.takes[0] and v.key != "sell"]
    you = Phrase("you", "you", "you", ("du",) * 3, "n", "")
    clause = _clause(rng, you, rng.choice(asked), "can")
    if clause.accusative is not None and clause.accusative.kind == "a":
        return _please(rng)
    return f"please {english(clause, 'please')}.", german(clause, "please") + ".", clause.said


def _to(rng: random.Random) -> Made:
    subject = _subject(rng)
    clause = replace(_clause(rng, subject, _fit(rng, without="sefn"), "now"), when=("", ""))
    does, tut, *closing = _row(rng, words.TO, subject.person)
    closing = " ".join(filter(None, closing))
    start = f"{subject.german[0]} {tut} {closing}".strip()
    texts = (
        f"{subject.english} {does} to {english(clause, 'to')}.",
        f"{start}, {german(clause, 'to')}.",
    )
    return *texts, clause.said


def _chain(rng: random.Random) -> Made:
    """Two actions on the same thing, which is a pronoun the second time."""
    one, first, joined, other, second = rng.choice(words.CHAINS.strip().splitlines()).split()
    by_key = {verb.key: verb for verb in _verbs() if verb.objects and verb.takes[0] == "{a}"}
    verb, then = by_key[one.replace("+", " ")], by_key[other.replace("+", " ")]
    both = [n for n in verb.objects if n in then.objects and "d" in _things()[n][5]]
    subject, noun = _pronominal(rng), rng.choice(both)
    thing = _thing(rng, noun, subject)
    while thing.gender == "p":
        thing = _thing(rng, noun, subject)
    it = Phrase(noun, "it", "it", tuple(IT[thing.gender].split()), thing.gender, "", "pronoun")
    clause = Clause(subject, verb, thing, tense=first)
    who = _pronoun(subject.who)
    tense = "past" if second == "not" else second
    last = Clause(who, then, it, tense=tense, negative=second == "not")
    if second in ("now", "future"):
        last = replace(last, when=("now", "jetzt") if second == "now" else ("tomorrow", "morgen"))
    und = {"and": "und", "but": "aber"}[joined]
    return (
        f"{english(clause)}, {joined} {english(last)}.",
        f"{german(clause)}, {und} {german(last)}.",
        clause.said | {(then.key, noun)},
    )


KINDS: tuple[tuple[Callable[[random.Random], Made], int], ...] = (
    (_plain, 26),
    (_modal, 8),
    (_question, 10),
    (_because, 9),
    (_that, 10),
    (_although, 4),
    (_weather, 4),
    (_before, 4),
    (_while, 5),
    (_who, 6),
    (_which, 6),
    (_please, 4),
    (_to, 6),
    (_chain, 4),
)


def _sentence(rng: random.Random) -> tuple[Pair, set[tuple[str, str]]]:
    kinds, weights = zip(*KINDS, strict=True)
    source, target, said = rng.choices(kinds, weights)[0](rng)
    return Pair(source[0].upper() + source[1:], target[0].upper() + target[1:]), said


@checked
def everyday(
    *,
    size: int = 4000,
    held_out: int = 500,
    seed: Seed = 0,
    tokenizer: str | Tokenizer = "bpe",
    vocab_size: int | None = None,
) -> PairData:
    """Generate English sentences of everyday life and their German translations.

    A grammar of both languages builds each pair from one meaning, in 14 kinds of sentence. The
    German has all that makes its word order differ from English: the verb second, the verb last in
    subordinate clauses, participles and infinitives at the end, separable verbs, cases, and
    pronouns that take the gender of their noun.

    Args:
        size: number of training pairs.
        held_out: number of held-out pairs. Each has a verb with a thing or place that no training
            pair combines: "close" and "suitcase", for instance, occur in training, but never
            together.
        seed: generates the sentences, and chooses what is held out.
        tokenizer: "word", "char", "bpe" or a tokenizer; one for both languages.
        vocab_size: size of a BPE vocabulary; None for 2,000.

    Returns:
        Pairs without an alignment. No source and no target occurs twice.
    """
    check_counts(size=size, held_out=held_out)
    if tokenizer == "bpe" and vocab_size is None:
        vocab_size = 2000
    rng = random.Random(seed)
    new = _held_back(rng)
    train: dict[str, Pair] = {}
    rest: dict[str, Pair] = {}
    targets = set()
    while len(train) < size or len(rest) < held_out:
        pair, said = _sentence(rng)
        part, most = (rest, held_out) if said & new else (train, size)
        if len(part) < most and pair.source not in part and pair.target not in targets:
            part[pair.source] = pair
            targets.add(pair.target)
    pairs = [*train.values()]
    texts = (text for pair in pairs for text in (pair.source, pair.target))
    made = make_tokenizer(tokenizer, texts, vocab_size)
    return PairData("everyday sentences", made, pairs, [*rest.values()])


def _held_back(rng: random.Random) -> set[tuple[str, str]]:
    """One in ten pairs of a verb and a thing or place. At least half of each verb's pairs, and of
    each thing's or place's, are left."""
    every = []
    for verb in _verbs():
        for name in verb.objects:
            if "=" in name:
                place, _, the = name.partition("=")[0].partition("+")
                every.append((verb.key, f"to the {place}" if the else f"to {place}"))
            elif name != "PEOPLE":
                every.append((verb.key, name))
    left = Counter(part for pair in every for part in pair)
    least = {part: (n + 1) // 2 for part, n in left.items()}
    held: set[tuple[str, str]] = set()
    for pair in rng.sample(every, len(every)):
        if len(held) < len(every) // 10 and all(left[part] > least[part] for part in pair):
            held.add(pair)
            left.subtract(pair)
    return held
