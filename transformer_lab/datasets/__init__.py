"""Datasets with a held-out part and, if they are generated, the known source of every answer.

Every dataset has ``.tokenizer``, ``.train`` and ``.held_out``; ``.batches(batch_size, …)``, an
endless `Stream` in which ``stream.batch(step)`` depends only on the seed and the step; and
``.epoch(batch_size, …)``, a list of batches with every held-out example once. Generated data also
has ``.truth(batch)``, the keys that a head would attend to if it followed the data's rule. Images
(`digits`) have no tokenizer, and their batches are pairs (pixels, labels).
"""

from ..files.paths import FileError
from .batches import IGNORE, Batch, Stream, mask_tokens
from .calendars import dates
from .corpora import Corpus, python_manual, python_source, text_file, tiny_shakespeare
from .digits import PictureData, Pictures, digits
from .everyday import everyday
from .examples import Dataset
from .little_stories import LittleStory, LittleStoryData, Mention, Part, Person, little_stories
from .match_reports import reports
from .numerals import number_words, spell
from .pairs import Pair, PairData, multi30k, pairs_file
from .questions import Question, QuestionData, Story, questions_file, stories
from .sentences import Agreement, Sentence, SentenceData, agreement, labelled_file
from .sequences import InductionData, Repeat, copy_task, induction, reverse, sort

__all__ = [
    "IGNORE",
    "Agreement",
    "Batch",
    "Corpus",
    "Dataset",
    "FileError",
    "InductionData",
    "LittleStory",
    "LittleStoryData",
    "Mention",
    "Pair",
    "PairData",
    "Part",
    "Person",
    "PictureData",
    "Pictures",
    "Question",
    "QuestionData",
    "Repeat",
    "Sentence",
    "SentenceData",
    "Story",
    "Stream",
    "agreement",
    "copy_task",
    "dates",
    "digits",
    "everyday",
    "induction",
    "labelled_file",
    "little_stories",
    "mask_tokens",
    "multi30k",
    "number_words",
    "pairs_file",
    "python_manual",
    "python_source",
    "questions_file",
    "reports",
    "reverse",
    "sort",
    "spell",
    "stories",
    "text_file",
    "tiny_shakespeare",
]

# Those that `transformer-lab train` accepts by name: a model predicts a token at every position.
IN_TRAINING_FILES = (
    "python_manual",
    "python_source",
    "text_file",
    "tiny_shakespeare",
    "number_words",
    "dates",
    "copy_task",
    "reverse",
    "sort",
    "induction",
    "reports",
    "stories",
    "little_stories",
    "everyday",
    "multi30k",
    "pairs_file",
)
