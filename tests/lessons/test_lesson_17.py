"""The checks of lesson 17 accept right answers, however written, and name mistakes."""

import torch
import torch.nn.functional as F

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_17 as solutions


def cut_by_unfold(pictures, size):
    return F.unfold(pictures, size, stride=size).transpose(1, 2)


def cut_with_loops(pictures, size):
    _, _, height, width = pictures.shape
    places = [(t, x) for t in range(0, height, size) for x in range(0, width, size)]
    return torch.stack([pictures[..., t : t + size, x : x + size].flatten(1) for t, x in places], 1)


def paste_by_fold(patches, size, shape):
    return F.fold(patches.transpose(1, 2), shape[1:], size, stride=size)


def paste_with_loops(patches, size, shape):
    pictures = patches.new_zeros(len(patches), *shape)
    wide = shape[2] // size
    for i in range(patches.shape[1]):
        top, left = i // wide * size, i % wide * size
        patch = patches[:, i].unflatten(-1, (shape[0], size, size))
        pictures[..., top : top + size, left : left + size] = patch
    return pictures


def looks_by_vector(patterns):
    """From the last layer back, one row at a time."""
    row = torch.zeros(patterns.shape[-1], dtype=patterns.dtype)
    row[0] = 1
    for pattern in patterns.flip(0):
        row = (row @ pattern.mean(0) + row) / 2
    return row[1:] / row[1:].sum()


def looks_unhalved(patterns):
    """A + I instead of its half; normalised at the end."""
    n = patterns.shape[-1]
    found = torch.linalg.multi_dot(
        [torch.eye(n, dtype=patterns.dtype)] * 2
        + [p.mean(0) + torch.eye(n) for p in patterns.flip(0)]
    )
    return found[0, 1:] / found[0, 1:].sum()


def covers(picture, size, fill):
    made = []
    for top in range(0, picture.shape[1], size):
        for left in range(0, picture.shape[2], size):
            one = picture.clone()
            one[:, top : top + size, left : left + size] = fill
            made.append(one)
    return torch.stack(made), (picture.shape[1] // size, picture.shape[2] // size)


def fall_one_by_one(predict, picture, size, fill):
    made, shape = covers(picture, size, fill)
    answer = int(predict(picture.unsqueeze(0)).argmax())
    said = lambda x: predict(x.unsqueeze(0)).softmax(-1)[0, answer].log()  # noqa: E731
    return torch.stack([said(picture) - said(one) for one in made]).reshape(shape)


def fall_by_patches(predict, picture, size, fill):
    """Occlude in patch space: each copy fills one patch, chosen by a row of the identity."""
    cut = cut_by_unfold(picture[None], size)
    n = cut.shape[1]
    hidden = torch.where(torch.eye(n, dtype=torch.bool)[..., None], fill, cut.expand(n, -1, -1))
    logits = predict(torch.cat((picture[None], paste_by_fold(hidden, size, picture.shape))))
    answers = logits[0].argmax().expand(n + 1)
    losses = F.cross_entropy(logits, answers, reduction="none")
    return (losses[1:] - losses[0]).view(picture.shape[1] // size, -1)


RIGHT = {
    "to_patches": (cut_by_unfold, cut_with_loops),
    "to_pictures": (paste_by_fold, paste_with_loops),
    "class_attention": (looks_by_vector, looks_unhalved),
    "occlusion_map": (fall_one_by_one, fall_by_patches),
}


WRONG = {
    "occlusion_map": {
        "written in": (
            lambda predict, x, s, f: (fall_by_patches(predict, x, s, f), x[:, :s, :s].fill_(f))[0],
            "changes the tensor",
        ),
        "no list": (lambda predict, x, s, f: predict(x).log_softmax(-1), "ValueError"),
    }
}


test_right, test_odd, test_wrong = checks_of("17", RIGHT, WRONG)


# -- against the package --------------------------------------------------------------------------------


def test_a_patch_by_a_matrix_is_a_convolution():
    convolution = torch.nn.Conv2d(3, 5, 2, stride=2)
    pictures = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    patches = solutions.to_patches(pictures, 2)
    by_matrix = patches @ convolution.weight.flatten(1).T + convolution.bias
    assert torch.allclose(by_matrix, convolution(pictures).flatten(2).transpose(1, 2), atol=1e-6)
    assert torch.equal(solutions.to_pictures(patches, 2, (3, 6, 8)), pictures)


def test_what_is_looked_at_is_the_rollout_of_the_package():
    torch.manual_seed(0)
    encoder = tl.ModelConfig(
        kind="encoder",
        vocab_size=1,
        head=False,
        n_layers=3,
        n_heads=2,
        d_model=16,
        n_ctx=17,
        positions="learned",
    )
    model = tl.PictureClassifier(tl.Transformer(encoder), 10).eval()
    trace = tl.trace(model, pixel_values=torch.rand(1, 1, 8, 8))
    patterns = torch.stack([trace.pattern(layer) for layer in range(3)])
    theirs = tl.circuits.rollout(trace)[-1, 0, 1:]
    torch.testing.assert_close(solutions.class_attention(patterns), theirs / theirs.sum())
