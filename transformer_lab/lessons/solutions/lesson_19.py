"""Solutions of lesson 19, Circuits."""

import torch


def induction_score(pattern, tokens):
    same = tokens[:, None] == tokens[None, :]
    earlier = same.tril(-1)
    after = torch.zeros_like(earlier)
    after[:, 1:] = earlier[:, :-1]
    queries = after.any(dim=-1)
    return (pattern * after).sum(dim=-1)[:, queries].mean(dim=-1)


def without_head(z, w_out, head):
    z = z.clone()
    z[:, head] = 0
    merged = z.transpose(1, 2).flatten(2)
    return merged @ w_out.T


def minimal_group(right, n_heads, level):
    group = []
    while right(group) > level and len(group) < n_heads:
        rest = [head for head in range(n_heads) if head not in group]
        left = [right([*group, head]) for head in rest]
        group.append(rest[left.index(min(left))])
    for head in list(group):
        fewer = [other for other in group if other != head]
        if right(fewer) <= level:
            group = fewer
    return torch.tensor(sorted(group))
