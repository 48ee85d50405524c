"""Solutions of lesson 15, What changed since 2017."""

import math

import torch

# Norms in a layer: of hidden_size numbers, and of head_dim (on queries and keys).
NORMS = {"llama": (2, 0), "qwen3": (2, 2), "gemma3_text": (4, 2)}


def rms_norm(x, gain, eps):
    size = (x * x).mean(dim=-1, keepdim=True)
    return x / torch.sqrt(size + eps) * gain


def swiglu(x, w_gate, w_up, w_down):
    gate = x @ w_gate.T
    gate = gate * torch.sigmoid(gate)
    return (gate * (x @ w_up.T)) @ w_down.T


def grouped_attention(x, w_q, w_k, w_v, w_out, n_heads, n_kv_heads):
    batch, length, _ = x.shape
    d_head = len(w_q) // n_heads

    def split(weight, heads):
        return (x @ weight.T).view(batch, length, heads, d_head).transpose(1, 2)

    query = split(w_q, n_heads)
    key, value = split(w_k, n_kv_heads), split(w_v, n_kv_heads)

    # neighbouring query heads share a key head: 0 0 0 1 1 1
    group = n_heads // n_kv_heads
    key = key.repeat_interleave(group, dim=1)
    value = value.repeat_interleave(group, dim=1)

    scores = query @ key.transpose(-2, -1) / math.sqrt(d_head)
    future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2) @ w_out.T


def parameters_of(config):
    d, layers = config["hidden_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    d_head = config.get("head_dim", d // heads)

    embedding = config["vocab_size"] * d
    attention = 2 * d * heads * d_head + 2 * d * kv_heads * d_head
    feed_forward = 3 * d * config["intermediate_size"]
    of_stream, of_head = NORMS[config["model_type"]]
    norms = layers * (of_stream * d + of_head * d_head) + d
    head = 0 if config["tie_word_embeddings"] else embedding
    return torch.tensor([embedding, layers * attention, layers * feed_forward, norms, head])


def cache_bytes(config, bytes_each):
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    d_head = config.get("head_dim", config["hidden_size"] // heads)
    return torch.tensor(2 * config["num_hidden_layers"] * kv_heads * d_head * bytes_each)
