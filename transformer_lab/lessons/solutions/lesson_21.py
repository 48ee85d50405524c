"""Solutions of lesson 21, Research desk."""

import torch


def split_qkv(weight):
    return torch.stack(weight.T.chunk(3))


def patched(stream, source, position):
    stream = stream.clone()
    stream[:, position] = source[:, position]
    return stream
