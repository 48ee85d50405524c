"""Checks of lesson 05, Build it."""

from transformer_lab.lessons.graders.decoder_parts import ATTENTION, ROTARY
from transformer_lab.lessons.graders.decoder_training import FROM_GPT2, GRADIENT, LOOP
from transformer_lab.lessons.graders.decoder_whole import BLOCK, DECODER

GRADERS = (ROTARY, ATTENTION, BLOCK, DECODER, GRADIENT, LOOP, FROM_GPT2)
