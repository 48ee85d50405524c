"""Solutions of lesson 02, Positions."""

import torch


def sinusoids(length, d_model):
    position = torch.arange(length)[:, None]
    even = torch.arange(0, d_model, 2)
    angle = position / 10000 ** (even / d_model)
    table = torch.zeros(length, d_model)
    table[:, 0::2] = torch.sin(angle)
    table[:, 1::2] = torch.cos(angle)
    return table


def shift_matrix(k, d_model):
    even = torch.arange(0, d_model, 2)
    angle = k / 10000 ** (even / d_model)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.zeros(d_model, d_model)
    matrix[even, even] = cos
    matrix[even, even + 1] = sin
    matrix[even + 1, even] = -sin
    matrix[even + 1, even + 1] = cos
    return matrix
