"""Solutions of lesson 26, Long context."""

import torch


def window_mask(length, window, first):
    query, key = torch.arange(length)[:, None], torch.arange(length)
    near = query - key < window
    return (key <= query) & (near | (key < first))


def rotary_angles(length, d_head, base, factor):
    position = torch.arange(length)[:, None] / factor
    even = torch.arange(0, d_head, 2)
    return position / base ** (even / d_head)
