"""Solutions of lesson 07, RNN against transformer."""

import torch


def dependent_steps(length, n_layers, recurrent):
    if recurrent:
        return length + n_layers - 1
    return n_layers + 0 * length


def path_length(source, place, reach):
    distance = (source - place).abs()
    return (distance + reach - 1) // reach


def gru(x, h, w_ih, w_hh, b_ih, b_hh):
    states = []
    for t in range(x.shape[1]):
        read_r, read_z, read_n = (x[:, t] @ w_ih.T + b_ih).chunk(3, dim=-1)
        kept_r, kept_z, kept_n = (h @ w_hh.T + b_hh).chunk(3, dim=-1)
        r = torch.sigmoid(read_r + kept_r)
        z = torch.sigmoid(read_z + kept_z)
        n = torch.tanh(read_n + r * kept_n)
        h = (1 - z) * n + z * h
        states.append(h)
    return torch.stack(states, dim=1)
