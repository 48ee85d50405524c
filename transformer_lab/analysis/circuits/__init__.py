"""Analyse what a model computes with attention: paths through the layers, what values carry, a
head's weights, and the residual stream.

Pure functions over traces (or over a model's weights); results are fp32 on the CPU.
"""

from .attribution import LogitAttribution, logit_attribution
from .block_walk import BlockSteps, block_steps
from .composition import Composition, Compositions, composition, compositions
from .hand_written import induction_by_hand
from .head_lens import HeadLens, head_lens
from .lens import LogitLens, logit_lens, unembedding
from .principal_components import Components, principal_components, random_cloud
from .rollout import flow, rollout
from .score_parts import (
    ScoreByDimension,
    ScoreBySource,
    row_scores,
    score_by_dimension,
    score_by_source,
)
from .stream import BlockShare, block_share, stream_norms
from .token_circuits import OVCircuit, QKCircuit, ov_circuit, qk_circuit
from .token_flow import TokenFlow, token_flow
from .value_weighted import contributions, layer_output, value_weighted_norms

__all__ = [
    "BlockShare",
    "BlockSteps",
    "Components",
    "Composition",
    "Compositions",
    "HeadLens",
    "LogitAttribution",
    "LogitLens",
    "OVCircuit",
    "QKCircuit",
    "ScoreByDimension",
    "ScoreBySource",
    "TokenFlow",
    "block_share",
    "block_steps",
    "composition",
    "compositions",
    "contributions",
    "flow",
    "head_lens",
    "induction_by_hand",
    "layer_output",
    "logit_attribution",
    "logit_lens",
    "ov_circuit",
    "principal_components",
    "qk_circuit",
    "random_cloud",
    "rollout",
    "row_scores",
    "score_by_dimension",
    "score_by_source",
    "stream_norms",
    "token_flow",
    "unembedding",
    "value_weighted_norms",
]
