"""Solutions of lesson 03, Many heads."""


def split_heads(x, n_heads):
    d_head = x.shape[-1] // n_heads
    return x.unflatten(-1, (n_heads, d_head)).transpose(1, 2)


def merge_heads(z):
    return z.transpose(1, 2).flatten(2)
