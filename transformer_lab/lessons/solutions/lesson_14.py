"""Solutions of lesson 14, Summarization."""

import torch


def coverage(cross):
    looked_at = cross.cumsum(dim=-2)
    return looked_at - cross


def rouge_1(summary, reference):
    n_words = int(torch.cat((summary, reference)).max()) + 1
    ours = torch.bincount(summary, minlength=n_words)
    wanted = torch.bincount(reference, minlength=n_words)
    overlap = torch.minimum(ours, wanted).sum()
    return 2 * overlap / (len(summary) + len(reference))


def rouge_l(summary, reference):
    n, m = len(summary), len(reference)
    longest = torch.zeros(n + 1, m + 1)
    for i in range(n):
        for j in range(m):
            if summary[i] == reference[j]:
                longest[i + 1, j + 1] = longest[i, j] + 1
            else:
                without_one = torch.maximum(longest[i, j + 1], longest[i + 1, j])
                longest[i + 1, j + 1] = without_one
    return 2 * longest[n, m] / (n + m)
