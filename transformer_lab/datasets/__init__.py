"""Data to train on, each with a held-out part and, where generated, the true answer's source.

Every dataset offers ``.tokenizer``, ``.train`` and ``.held_out``; ``.batches(batch_size, …)``, an
endless `Stream` in which ``stream.batch(step)`` depends on the seed and the step alone; and
``.epoch(batch_size, …)``, a list of batches that hold every held-out example once.
"""

from .batches import IGNORE, Batch, Stream, mask_tokens
from .corpora import Corpus, python_manual, python_source, text_file, tiny_shakespeare
from .reading import DataError

__all__ = ["IGNORE", "Batch", "Corpus", "DataError", "Stream", "mask_tokens"]
__all__ += ["python_manual", "python_source", "text_file", "tiny_shakespeare"]
