"""Solutions of lesson 17, Pictures are tokens too."""

import torch


def to_patches(pictures, size):
    n, channels, height, width = pictures.shape
    rows, columns = height // size, width // size
    cut = pictures.reshape(n, channels, rows, size, columns, size)
    ordered = cut.permute(0, 2, 4, 1, 3, 5)
    return ordered.reshape(n, rows * columns, channels * size * size)


def to_pictures(patches, size, shape):
    channels, height, width = shape
    rows, columns = height // size, width // size
    cut = patches.reshape(len(patches), rows, columns, channels, size, size)
    ordered = cut.permute(0, 3, 1, 4, 2, 5)
    return ordered.reshape(len(patches), channels, height, width)


def class_attention(patterns):
    n = patterns.shape[-1]
    kept = torch.eye(n, dtype=patterns.dtype)
    through = torch.eye(n, dtype=patterns.dtype)
    for pattern in patterns:
        mixed = 0.5 * pattern.mean(dim=0) + 0.5 * kept
        through = mixed @ through
    looks = through[0, 1:]
    return looks / looks.sum()


def occlusion_map(predict, picture, size, fill):
    _, height, width = picture.shape
    rows, columns = height // size, width // size
    covered = picture.repeat(rows * columns, 1, 1, 1)
    for i in range(rows * columns):
        top, left = i // columns * size, i % columns * size
        covered[i, :, top : top + size, left : left + size] = fill
    whole = predict(picture[None]).log_softmax(dim=-1)[0]
    best = whole.argmax()
    without = predict(covered).log_softmax(dim=-1)[:, best]
    return (whole[best] - without).reshape(rows, columns)
