"""Write the question bank for a learning management system.

    python -m docs.make_questions gift questions.txt [LESSON …]   # Moodle
    python -m docs.make_questions qti questions.zip [LESSON …]    # Canvas, Blackboard, OpenOlat, ILIAS

Every question is an essay question, sorted by lesson, with its answer as feedback (GIFT) or as a
rubric for the teacher (QTI 2.1). An entry of the bank that cannot be read is reported and left out;
the exit code is then 1, and everything else is written.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import mistune

from transformer_lab.files.safefiles import committed

BANK = Path(__file__).with_name("questions.md")
LEVELS = {"●○○": "recall", "●●○": "use", "●●●": "judge"}
QTI = "http://www.imsglobal.org/xsd/imsqti_v2p1"
PACKAGE = "http://www.imsglobal.org/xsd/imscp_v1p1"


@dataclass(frozen=True)
class Question:
    """A question of the bank; `text` and `answer` are Markdown."""

    number: str
    lesson: str
    level: str
    text: str
    answer: str


def questions_in(bank: str) -> Iterator[Question | str]:
    """The questions of a bank in order, and a sentence for each entry that cannot be read."""
    seen = set()
    lesson = ""
    for entry in re.split(r"^(?=## |\*\*\d)", bank, flags=re.MULTILINE)[1:]:
        if entry.startswith("## "):
            lesson = entry[3:].splitlines()[0]
            continue
        number, _, rest = entry[2:].partition("** ")
        text, details, answer = rest.partition("<details><summary>Answer</summary>")
        answer, end, after = re.sub(r"<!--.*?-->\n?", "", answer, flags=re.S).partition(
            "</details>"
        )
        level = LEVELS.get(text[:3])
        problems = {
            "its number is not like 04.2": not re.fullmatch(r"\d\d[a-z]?\.\d+", number),
            "another question has this number": number in seen,
            f"it has none of the levels {', '.join(LEVELS)}": level is None,
            "it has no question": not text[3:].strip(),
            "it has no answer": not (details and end and answer.strip()),
            "it is not in UTF-8; save the bank as UTF-8": "\ufffd" in entry,
            "it is not XHTML; close every tag, as in <br/>, and delete control characters": not (
                _is_xhtml(text) and _is_xhtml(answer)
            ),
        }
        seen.add(number)
        if any(problems.values()):
            why = next(why for why, holds in problems.items() if holds)
            yield f"question {number[:20]!r} was left out: {why}"
        else:
            yield Question(number, lesson, str(level), text[3:].strip(), answer.strip())
        if after.strip():
            start = " ".join(after.split())[:20]
            yield f"the text {start!r} was left out: it must begin a question, as **04.2** ●○○ does"


def _is_xhtml(text: str) -> bool:
    try:
        return _html(text) is not None
    except ElementTree.ParseError:
        return False


def gift(questions: Sequence[Question]) -> str:
    """Moodle's GIFT, with a category for each lesson."""

    def escaped(text: str) -> str:
        text = re.sub(r"([\\~=#{}:])", r"\\\1", text)
        return re.sub(r"\n[ \t]*(?=\n)", r"\\n", text)  # an empty line would end the question

    parts, lesson = [], None
    for question in questions:
        if question.lesson != lesson:
            lesson = question.lesson
            parts.append(f"$CATEGORY: Transformer Lab/{lesson.replace('/', '-')}")
        name = f"{question.number} ({question.level})"
        answer = f"{{\n####{escaped(question.answer)}\n}}"
        parts.append(f"::{escaped(name)}::[markdown]{escaped(question.text)} {answer}")
    return "\n\n".join(parts) + "\n"


def qti_files(questions: Sequence[Question]) -> dict[str, bytes]:
    """Name -> the file of a QTI 2.1 package: a manifest, and an item for each question."""
    names = [f"q{question.number.replace('.', '-')}" for question in questions]
    manifest = ElementTree.Element("manifest", xmlns=PACKAGE, identifier="transformer-lab")
    data = ElementTree.SubElement(manifest, "metadata")
    ElementTree.SubElement(data, "schema").text = "QTIv2.1 Package"
    ElementTree.SubElement(data, "schemaversion").text = "1.0.0"
    ElementTree.SubElement(manifest, "organizations")
    resources = ElementTree.SubElement(manifest, "resources")
    for name in names:
        about = dict(identifier=name, type="imsqti_item_xmlv2p1", href=f"{name}.xml")
        resource = ElementTree.SubElement(resources, "resource", about)
        ElementTree.SubElement(resource, "file", href=f"{name}.xml")
    files = {"imsmanifest.xml": _bytes(manifest)}
    files |= {f"{n}.xml": _bytes(_item(n, q)) for n, q in zip(names, questions, strict=True)}
    return files


def _item(name: str, question: Question) -> ElementTree.Element:
    title = f"{question.number} · {question.lesson} ({question.level})"
    item = ElementTree.Element(
        "assessmentItem",
        dict(xmlns=QTI, identifier=name, title=title, adaptive="false", timeDependent="false"),
    )
    answer = dict(identifier="RESPONSE", cardinality="single", baseType="string")
    ElementTree.SubElement(item, "responseDeclaration", answer)
    score = dict(identifier="SCORE", cardinality="single", baseType="float")
    ElementTree.SubElement(item, "outcomeDeclaration", score)
    body = ElementTree.SubElement(item, "itemBody")
    body.append(_html(question.text))
    ElementTree.SubElement(
        body, "extendedTextInteraction", responseIdentifier="RESPONSE", expectedLines="6"
    )
    rubric = ElementTree.SubElement(body, "rubricBlock", view="scorer")
    rubric.append(_html(question.answer))
    return item


def _html(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{mistune.html(text)}</div>")


def _bytes(element: ElementTree.Element) -> bytes:
    return ElementTree.tostring(element, encoding="utf-8", xml_declaration=True)


def write(form: str, path: Path, lessons: Sequence[str], bank: str) -> list[str]:
    """Write the questions of these lessons, or all; returns a sentence per entry left out."""
    read = list(questions_in(bank))
    problems = [entry for entry in read if isinstance(entry, str)]
    questions = [entry for entry in read if isinstance(entry, Question)]
    known = dict.fromkeys(question.number.split(".")[0] for question in questions)
    if unknown := set(lessons) - set(known):
        raise SystemExit(
            f"there are no questions on lesson {', '.join(sorted(unknown))}; choose from {', '.join(known)}"
        )
    chosen = [q for q in questions if not lessons or q.number.split(".")[0] in lessons]
    with committed(path) as place:
        if form == "gift":
            place.write_text(gift(chosen), "utf-8")
        else:
            with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
                for name, content in qti_files(chosen).items():
                    file.writestr(name, content)
    print(f"{len(chosen)} questions: {path}")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make_questions", description=__doc__.splitlines()[0])
    parser.add_argument("form", choices=("gift", "qti"), help="gift for Moodle, qti for the others")
    parser.add_argument("out", type=Path, help="the file to write; qti is a .zip")
    parser.add_argument(
        "lessons", nargs="*", default=[], metavar="LESSON", help="such as 01; all by default"
    )
    options = parser.parse_args(arguments)
    problems = write(options.form, options.out, options.lessons, BANK.read_text("utf-8", "replace"))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
