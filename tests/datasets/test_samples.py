"""The files of data/samples are what the code writes, and users' files can look like them."""

from pathlib import Path

import pytest

from transformer_lab.datasets import labelled_file, pairs_file, questions_file
from transformer_lab.datasets.samples import sample_files, write_samples

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


def test_samples_are_in_step_with_the_code():
    files = sample_files()
    assert {path.name for path in SAMPLES.iterdir()} == set(files)
    for name, text in files.items():
        if name == "dates.jsonl":  # CLDR's wording varies with babel's version
            continue
        assert (SAMPLES / name).read_text(encoding="utf-8") == text, (
            f"{name} differs; run: python -m transformer_lab.datasets.samples"
        )


def test_samples_are_written_where_asked(tmp_path):
    paths = write_samples(tmp_path / "new")
    assert {path.name for path in paths} == set(sample_files())
    assert all(path.stat().st_size for path in paths)


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (pairs_file, "your_pairs.tsv"),
        (labelled_file, "your_labels.tsv"),
        (questions_file, "your_questions.jsonl"),
    ],
)
def test_a_users_file_can_look_like_the_sample(read, name):
    data = read(SAMPLES / name, held_out=1)
    assert (len(data.train), len(data.held_out)) == (4, 1)
    assert len(data.batches(2).batch(0)) == 2
