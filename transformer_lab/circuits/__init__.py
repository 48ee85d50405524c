"""What a model computes with its attention, as numbers: paths through the layers, what values
carry, what a head's weights say, and what the residual stream holds.

Pure functions over traces (or over the weights of our own models); results are fp32 on the CPU.
"""

from .attribution import LogitAttribution, logit_attribution
from .lens import LogitLens, logit_lens, unembedding
from .score_parts import (
    ScoreByDimension,
    ScoreBySource,
    row_scores,
    score_by_dimension,
    score_by_source,
)
from .stream import BlockShare, block_share, stream_norms

__all__ = [
    "BlockShare",
    "LogitAttribution",
    "LogitLens",
    "ScoreByDimension",
    "ScoreBySource",
    "block_share",
    "logit_attribution",
    "logit_lens",
    "row_scores",
    "score_by_dimension",
    "score_by_source",
    "stream_norms",
    "unembedding",
]
