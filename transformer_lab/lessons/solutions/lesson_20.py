"""Solutions of lesson 20, Circuits in depth."""

import torch


def qk_circuit(asking, offering, w_q, w_k):
    queries = asking @ w_q
    keys = offering @ w_k
    return queries @ keys.T / w_q.shape[1] ** 0.5


def ov_circuit(read, w_v, w_o, unembed):
    written = read @ w_v @ w_o
    return written @ unembed.T


def copying_score(ov):
    values = torch.linalg.eigvals(ov)
    return values.real.sum() / values.abs().sum()


def composition_scores(early, late, random):
    def shares(early, late):
        w_q, w_k, w_v, w_o = late
        writes = early[2] @ early[3]
        reads = (w_q @ w_k.T, w_k @ w_q.T, w_v @ w_o)
        return torch.stack([(writes @ r).norm() / (writes.norm() * r.norm()) for r in reads])

    found = shares(early, late)
    chance = torch.stack([shares(a, b) for a, b in random])
    mean, spread = chance.mean(0), chance.std(0)
    return torch.stack((found, mean, (found - mean) / spread), dim=1)


def attribute_logit(embedded, z, w_out, unembed):
    n_layers, n_heads, d_head = z.shape
    parts = [embedded]
    for layer in range(n_layers):
        for head in range(n_heads):
            columns = slice(head * d_head, (head + 1) * d_head)
            parts.append(w_out[layer, :, columns] @ z[layer, head])
    parts = torch.stack(parts)
    stream = parts.sum(0)
    size = (stream.square().mean() + 1e-5).sqrt()
    return parts / size @ unembed
