"""Solutions of lesson 08, Translation."""

import torch


def decoder_mask(target, pad_id):
    length = target.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=target.device).tril()
    real = target != pad_id
    return causal & real[:, None, :]


def greedy(next_scores, bos, eos, longest):
    ids = torch.tensor([bos])
    for _ in range(longest):
        new = next_scores(ids).argmax()
        if new == eos:
            break
        ids = torch.cat([ids, new.view(1)])
    return ids[1:]


def translation_table(maps, source, target, pad_id, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size)
    for text in range(len(target)):
        for place in range(1, target.shape[1]):
            word = target[text, place]
            if word == pad_id:
                continue
            looks = maps[text, :, place - 1].mean(dim=0)
            partner = source[text, looks.argmax()]
            counts[word, partner] += 1
    totals = counts.sum(dim=-1, keepdim=True)
    return counts / totals.clamp(min=1)
