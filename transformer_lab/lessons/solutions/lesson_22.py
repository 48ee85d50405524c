"""Solutions of lesson 22, Scale."""

import torch


def training_flops(n_layers, d_model, vocab_size, n_ctx, tokens):
    blocks = 2 * 12 * n_layers * d_model**2  # a product and a sum for each weight
    attention = 4 * n_layers * n_ctx * d_model  # scores, then the mixture
    head = 2 * vocab_size * d_model
    return 3 * tokens * torch.tensor([blocks, attention, head])


def best_size(parameters, loss):
    x = parameters.log()
    columns = torch.stack([x * x, x, torch.ones_like(x)], dim=1)
    a, b, _ = torch.linalg.lstsq(columns, loss).solution
    return torch.exp(-b / (2 * a))


def fit_law(parameters, tokens, loss, alphas, betas):
    best, least = None, float("inf")
    for alpha in alphas:
        for beta in betas:
            columns = torch.stack([torch.ones_like(loss), parameters**-alpha, tokens**-beta], dim=1)
            solution = torch.linalg.lstsq(columns, loss).solution
            error = (columns @ solution - loss).square().sum()
            if error < least:
                floor, a, b = solution
                best, least = torch.stack([floor, a, alpha, b, beta]), error
    return best


def jackknife(fit, *columns):
    n = len(columns[0])
    found = []
    for left_out in range(n):
        kept = torch.arange(n) != left_out
        found.append(fit(*(column[kept] for column in columns)))
    found = torch.stack(found)
    spread = (found - found.mean(dim=0)).square().sum(dim=0)
    return torch.sqrt((n - 1) / n * spread)
