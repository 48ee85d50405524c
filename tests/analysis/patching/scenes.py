"""Models of three kinds with two prompts each, and taps that patch one cell of a grid."""

from contextlib import ExitStack

import torch

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab.adapters.lookup import network_of

CLEAN, CORRUPTED = torch.tensor([5, 9, 11, 5, 7, 3]), torch.tensor([5, 9, 12, 6, 7, 3])
PAIR = (4, 8)  # the tokens whose logits are compared


def ours(**options):
    return small(noise=0.2, **{"n_layers": 3, **options}).double()


def gpt2():
    T = package("transformers")
    torch.manual_seed(0)
    config = T.GPT2Config(vocab_size=50, n_layer=3, n_head=4, n_embd=32, n_positions=16)
    return noisy(T.GPT2LMHeadModel(config))


def llama():
    T = package("transformers")
    torch.manual_seed(0)
    config = T.LlamaConfig(
        vocab_size=50,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=32,
        intermediate_size=48,
        max_position_embeddings=16,
    )
    return noisy(T.LlamaForCausalLM(config))


def noisy(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double().eval()


MODELS = {"ours": ours, "gpt2": gpt2, "llama": llama}


def logits(model, tokens):
    with torch.no_grad():
        out = model(tokens[None] if tokens.dim() == 1 else tokens)
    return getattr(out, "logits", out)


def difference(found, place=-1):
    return float((found[:, place, PAIR[0]] - found[:, place, PAIR[1]]).mean())


class Toward(tl.Tap):
    """Move one cell by a fraction of the way to another run."""

    def __init__(self, site, layer, place, away, by):
        self.site, self.layer, self.place, self.away, self.by = site, layer, place, away, by

    wants_maps = property(lambda self: self.site == "pattern")

    def moved(self, x):
        x = x.clone()
        at = (slice(None), self.place)
        x[at] += self.by * self.away[at].to(x)
        return x

    def on_attention(self, call):
        names = {"q": "query", "k": "key", "v": "value"}
        if call.site.layer != self.layer or self.site not in names:
            return call
        from dataclasses import replace

        name = names[self.site]
        return replace(call, **{name: self.moved(getattr(call, name))})

    def on_map(self, call, weights):
        here = self.site == "pattern" and call.site.layer == self.layer
        return self.moved(weights) if here else weights

    def on_heads(self, call, z):
        return self.moved(z) if (self.site, self.layer) == ("z", call.site.layer) else z

    def on_stream(self, name, site, x):
        return self.moved(x) if (self.site, self.layer) == (name, site.layer) else x


def slope(model, tokens, site, layer, place, away, step=2e-3):
    """Derivative of the metric as a cell moves to another run's value, by central differences."""
    network, ends = network_of(model), []
    for by in (-step, step):
        tap = Toward(site, layer, place, away, by)
        with ExitStack() as stack:
            stack.enter_context(network.tapping(tap))
            if site in ("resid_pre", "resid_post", "attn_out", "mlp_out"):
                stack.enter_context(network.changing_stream(tap, [site], "decoder", layer))
            ends.append(difference(logits(model, tokens)))
    return (ends[1] - ends[0]) / (2 * step)
