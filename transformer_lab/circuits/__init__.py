"""What a model computes with its attention, as numbers: paths through the layers, what values
carry, what a head's weights say, and what the residual stream holds.

Pure functions over traces (or over the weights of our own models); results are fp32 on the CPU.
"""

from .attribution import LogitAttribution, logit_attribution
from .by_hand import induction_by_hand
from .lens import LogitLens, logit_lens, unembedding
from .rollout import flow, rollout
from .score_parts import (
    ScoreByDimension,
    ScoreBySource,
    row_scores,
    score_by_dimension,
    score_by_source,
)
from .stream import BlockShare, block_share, stream_norms
from .value_weighted import contributions, layer_output, value_weighted_norms
from .weights import (
    Composition,
    Compositions,
    OVCircuit,
    QKCircuit,
    composition,
    compositions,
    ov_circuit,
    qk_circuit,
)

__all__ = [
    "BlockShare",
    "Composition",
    "Compositions",
    "LogitAttribution",
    "LogitLens",
    "OVCircuit",
    "QKCircuit",
    "ScoreByDimension",
    "ScoreBySource",
    "block_share",
    "composition",
    "compositions",
    "contributions",
    "flow",
    "induction_by_hand",
    "layer_output",
    "logit_attribution",
    "logit_lens",
    "ov_circuit",
    "qk_circuit",
    "rollout",
    "row_scores",
    "score_by_dimension",
    "score_by_source",
    "stream_norms",
    "unembedding",
    "value_weighted_norms",
]
