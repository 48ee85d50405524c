"""Imports for every architecture's process: the fork server loads this module once, and each process
is forked from it with everything in memory."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
import transformers.modeling_layers
import transformers.modeling_utils
import transformers.models.auto.modeling_auto  # noqa: F401

import transformer_lab.edits.interventions
import transformer_lab.edits.sweep
import transformer_lab.tracing.running
import transformer_lab.views.explorer.view
import transformer_lab.views.heads.view  # noqa: F401

torch.set_num_threads(1)
