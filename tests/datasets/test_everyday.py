"""Everyday sentences: their German is checked by independent rules, not the grammar's code."""

import re
from collections import Counter

import pytest

import transformer_lab as tl

# Genders as in a dictionary, written for this test.
GENDERS = {
    "m": "Brief Mantel Schuh Fernseher Computer Zaun Keller Schreibtisch Garten Koffer Schlüssel "
    "Regenschirm Hund Kuchen Salat Apfel Weg Termin Bus Zug Kurs Mann Lehrer Bäcker Briefträger Bauer "
    "Kellner Junge",
    "f": "Zeitung Geschichte Postkarte Nachricht Frage Antwort Jacke Lampe Uhr Heizung Tür Wand Küche "
    "Garage Wohnung Kiste Flasche Tasche Katze Suppe Fahrkarte Rechnung Reise Sitzung Frau Ärztin",
    "n": "Buch Gedicht Geschenk Hemd Fahrrad Auto Haus Klavier Radio Licht Dach Fenster Bad Zimmer Paket "
    "Handy Bild Foto Pferd Brot Abendessen Geld Fest Wochenende Rennen Museum Mädchen Kind",
}
GENDER = {noun: gender for gender, nouns in GENDERS.items() for noun in nouns.split()}
# Nouns whose singular and plural are the same.
SAME = set(
    re.findall(
        r"\w+",
        "Fernseher Computer Keller Koffer Schlüssel Kuchen Lehrer Bäcker Briefträger Kellner "
        "Fenster Zimmer Abendessen Rennen Mädchen",
    )
)
# Articles that a singular noun may have in any case but the genitive, which is not used.
ARTICLES = {"m": {"der", "den", "dem"}, "f": {"die", "der"}, "n": {"das", "dem"}}
ENDINGS = {"m": {"", "en", "em"}, "f": {"e", "er"}, "n": {"", "em"}}
STEMS = ("ein", "kein", "mein", "sein", "ihr", "unser")
FINITE = re.compile(
    r"(bin|ist|sind|hab[e]?|hat|haben|werde|wird|werden|kann|können|muss|müssen|will|wollen|soll|"
    r"sollen|möchten?|hatten?|wollten?|\w+(t|e|n))$"
)


@pytest.fixture(scope="module")
def data():
    return tl.datasets.everyday()


def texts(data):
    return [*data.train, *data.held_out]


def test_there_are_thousands_of_them_and_none_occurs_twice(data):
    assert (len(data.train), len(data.held_out)) == (4000, 500)
    for side in ("source", "target"):
        assert len({getattr(pair, side) for pair in texts(data)}) == 4500


def test_no_held_out_sentence_is_known_but_all_of_its_words_are(data):
    known = Counter(word for pair in data.train for word in nouns(pair.target))
    assert min(known[word] for pair in data.held_out for word in nouns(pair.target)) >= 3
    # Most held-out pairs of a verb and its object do not occur in training, in any form.
    heard = {(v, n) for pair in data.train for v, n in combinations(pair.target)}
    held = [
        pair for pair in data.held_out if pair.target.startswith("Die ") and ", die " in pair.target
    ]
    fresh = [pair for pair in held if not combinations(pair.target) <= heard]
    assert len(held) > 5 and len(fresh) > 0.9 * len(held)


def nouns(text):
    """The capitalised words except the first."""
    return [word for word in re.findall(r"\w+", text)[1:] if word[0].isupper()]


def combinations(text):
    """In "Die Lampe, die sie gekauft hat, …": the noun with its clause's participle or verb."""
    match = re.match(r"D\w+ (\w+), \w+ .*?(\w+)( hat| haben| habe)?, ist ", text)
    return {(match[2], match[1])} if match else set()


def test_the_sentences_are_varied(data):
    first = Counter(pair.target.split()[0] for pair in texts(data))
    assert max(first.values()) < 0.12 * 4500
    words = Counter(word for pair in texts(data) for word in re.findall(r"\w+", pair.target))
    assert len(words) > 500
    lengths = Counter(len(pair.target.split()) for pair in texts(data))
    assert min(lengths) <= 4 and max(lengths) >= 14
    kinds = {
        "subordinate": r", (dass|weil|ob|wenn|der|die|das|den) ",
        "first clause subordinate": r"^(Obwohl|Bevor|Während|Wenn) ",
        "infinitive with zu": r"( zu \w+en|\w+zu\w+en)\.$",
        "question": r"\?$",
        "perfect": r" (hat|haben|habe|ist|sind|bin) .*(ge|ver|be|über|repar|ver)\w*(t|en)[.,?]",
        "negation": r" (nicht|kein\w*) ",
        "separable": r" (auf|zu|an|aus|ab|ein|mit|weg|zurück|teil|fern)[.,?]",
        "reflexive": r" (sich|mich|uns) (nicht )?(heute |jetzt )?(auf|an|von) ",
        "imperative": r"^\w+ bitte ",
    }
    for kind, pattern in kinds.items():
        assert sum(bool(re.search(pattern, pair.target)) for pair in texts(data)) >= 40, kind


# An article, optionally an adjective, and a noun; not a relative pronoun and the phrase after it.
PHRASE = r"(?<!, )\b(\w+) (?:(?!der |die |das |den |dem |\w*ein)[a-zäöü]\w*e[nrms]? )?([A-ZÄÖÜ]\w+)"


def test_articles_agree_with_their_nouns(data):
    checked = 0
    for pair in texts(data):
        for article, noun in re.findall(PHRASE, pair.target):
            if noun not in GENDER:
                continue
            gender, article = GENDER[noun], article.lower()
            plural = noun in SAME and article in ("die", "den", "zwei", "drei")
            if article in ("der", "die", "das", "den", "dem"):
                assert plural or article in ARTICLES[gender], pair.target
                checked += 1
            stem = next((s for s in STEMS if re.fullmatch(f"{s}(e|er|en|em)?", article)), None)
            if stem and not (noun in SAME and article[len(stem) :] in ("e", "en")):
                assert article[len(stem) :] in ENDINGS[gender], pair.target
                checked += 1
    assert checked > 3000


def test_the_verb_ends_a_subordinate_clause(data):
    seen = 0
    for pair in texts(data):
        for clause in re.findall(r", (?:dass|weil|ob|wenn) ([^,]+)[.,?]", pair.target):
            assert FINITE.search(clause), pair.target
            assert clause.split()[-1] not in ("auf", "zu", "an", "aus", "ab", "ein", "mit", "nicht")
            seen += 1
        for start in re.findall(r"^(?:Obwohl|Bevor|Während|Wenn) [^,]+, (\w+)", pair.target):
            assert start[0].islower() and FINITE.search(start), pair.target  # the verb comes second
    assert seen > 500


def test_a_pronoun_has_the_gender_of_its_noun(data):
    seen = 0
    for pair in texts(data):
        match = re.search(r" (\w+) (?:\w+), (?:und|aber) \w+ \w+ (ihn|sie|es) ", pair.target)
        if match and match[1] in GENDER and ", and " in pair.source + ", and ":
            assert {"ihn": "m", "sie": "f", "es": "n"}[match[2]] == GENDER[match[1]], pair.target
            seen += 1
    assert seen > 50


def test_sentences_are_written_as_sentences(data):
    for pair in texts(data):
        for text in (pair.source, pair.target):
            assert text[0].isupper() and text[-1] in ".?"
            assert "  " not in text and not re.search(r"[{}|>]", text)
        assert (pair.source[-1] == "?") == (pair.target[-1] == "?")
        assert not re.search(r"\ba [aeio]\w", pair.source), pair.source


def test_the_seed_chooses_the_sentences():
    small = dict(size=30, held_out=10, tokenizer="word")
    first, again, other = (tl.datasets.everyday(seed=seed, **small) for seed in (0, 0, 1))
    assert first.train == again.train and first.held_out == again.held_out
    assert first.train != other.train
    assert other.tokenizer.encode("Paul") != []
