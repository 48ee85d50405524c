"""Models and batches that tests share: small enough to be created for every test."""

import torch
from torch import nn

import transformer_lab as tl

WORDS = [
    "The",
    "animal",
    "did",
    "n't",
    "cross",
    "the",
    "street",
    "because",
    "it",
    "was",
    "too",
    "tired",
    ".",
]
FRENCH = ["<s>", "L'", "animal", "n'", "a", "pas", "traversé", "la", "rue"]


def small(
    kind="decoder", *, seed=0, noise=0.0, sharpness=1.0, sharpened=("query", "key"), **options
):
    """A Transformer in eval mode, of two layers with four heads unless options say otherwise.

    Args:
        noise: standard deviation of noise on all parameters: zero biases and unit gains hide bugs.
        sharpness: multiplies the parameters whose names contain one of `sharpened`. Untrained
            heads attend evenly to all positions; larger queries and keys make them selective.
    """
    torch.manual_seed(seed)
    sizes = dict(vocab_size=50, n_layers=2, n_heads=4, d_model=32, n_ctx=64) | options
    model = tl.Transformer(tl.ModelConfig(kind=kind, **sizes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if noise:
                parameter.add_(noise * torch.randn_like(parameter))
            if any(part in name for part in sharpened):
                parameter.mul_(sharpness)
    return model.eval()


def with_dictionary(model, layer=0, n_features=12, k=3):
    """The model with a dictionary of features in place of one layer's MLP; feature 2 is active at
    every token."""
    d_model, block = model.config.d_model, model.decoder.blocks[layer]
    encoder, decoder = nn.Linear(d_model, n_features), nn.Linear(n_features, d_model)
    nn.init.constant_(encoder.bias[2], 3.0)
    block.feed_forward = tl.Dictionary(block.feed_forward, encoder, decoder, k)
    return model.eval()


def maps_only(n_layers=2, n_heads=4, n=6):
    """A trace of stored maps alone, without a model."""
    torch.manual_seed(0)
    maps = torch.randn(n_layers, n_heads, n, n).softmax(-1)
    return tl.Trace.of_maps(
        {"decoder": maps},
        tokens=torch.arange(n)[None],
        target=None,
        name="kept",
        labels=[[str(i) for i in range(n)]],
        target_labels=None,
    )


def learner(**options):
    """A one-layer model, for a few steps of training on `Rows` or `Counting`."""
    torch.manual_seed(0)
    sizes = dict(vocab_size=10, n_layers=1, n_heads=2, d_model=16, n_ctx=8) | options
    return tl.Transformer(tl.ModelConfig(**sizes))


def same(a, b):
    """Whether two models have bitwise the same weights."""
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(n == m and torch.equal(p, q) for (n, p), (m, q) in pairs)


class Rows:
    """Pairs of random rows, a pure function of the step: four texts of `length` tokens."""

    seed = 0

    def __init__(self, vocabulary=10, length=8):
        self.vocabulary, self.length = vocabulary, length

    def draw(self, step):
        shape, chance = (4, self.length + 1), torch.Generator().manual_seed(step)
        return torch.randint(self.vocabulary, shape, generator=chance)

    def batch(self, step):
        rows = self.draw(step)
        return rows[:, :-1], rows[:, 1:]


class Counting(Rows):
    """Rows that count upwards from a random start; models learn them in a few steps."""

    def __init__(self, rows=4, vocabulary=10, length=8):
        super().__init__(vocabulary, length)
        self.rows = rows

    def draw(self, step):
        chance = torch.Generator().manual_seed(step)
        start = torch.randint(self.vocabulary, (self.rows, 1), generator=chance)
        return (start + torch.arange(self.length + 1)) % self.vocabulary


class CountingBatches(Counting):
    """The same with twenty tokens, as a `Batch`; with target_in for an encoder-decoder."""

    def __init__(self, both=False):
        super().__init__(vocabulary=20)
        self.both = both

    def batch(self, step):
        tokens, targets = super().batch(step)
        given = dict(target_in=tokens) if self.both else {}
        return tl.datasets.Batch(tokens=tokens, targets=targets, **given)


def timeless(run):
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")}
        for line in run.metrics()
    ]


class Watch:
    def __init__(self):
        self.events = []

    def start(self, model, steps):
        self.events.append(("start", steps))

    def update(self, step, model):
        self.events.append(step)

    def finish(self, reason):
        self.events.append(("finish", reason))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def vision(*, head=True, seed=0, **options):
    """A ViT in eval mode, of two layers with two heads, for images of 4 × 4 patches."""
    import transformers

    torch.manual_seed(seed)
    sizes = dict(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=4,
    )
    kind = transformers.ViTForImageClassification if head else transformers.ViTModel
    model = kind(transformers.ViTConfig(**sizes | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def picture(height=20, width=20):
    """Bytes [height, width, 3]: a gradient of colour along each axis, and a bright corner."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    shades = [
        rows * 255 // height + 0 * columns,
        columns * 255 // width + 0 * rows,
        rows * 0 + columns * 0,
    ]
    found = torch.stack(shades, -1)
    found[: height // 3, : width // 3] = 250
    return found.to(torch.uint8).numpy()


class OwnLayer(torch.nn.Module):
    """Attention with two heads as a user would write it, with `tl.attend` and taps."""

    taps = ()

    def __init__(self, number):
        super().__init__()
        self.site, self.qkv = tl.Site("decoder", number), torch.nn.Linear(8, 24)

    def mixed(self, x):
        return self.qkv(x)

    def forward(self, x):
        q, k, v = self.mixed(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        z = tl.attend(q, k, v, causal=True, tap=self.taps, site=self.site, module=self)
        return x + z.transpose(1, 2).flatten(2)


class OwnNetwork(tl.Network):
    """The minimal `tl.Network` of two such layers."""

    kinds = ("decoder",)

    def heads(self, kind):
        return [2, 2]

    def tapped(self):
        return iter(self.module[1:3])

    def run(self, inputs):
        return tl.Output(logits=self.module(inputs.tokens))


def own(layer=OwnLayer, network=OwnNetwork, *, vocabulary=50):
    """A user's own network."""
    torch.manual_seed(0)
    nn = torch.nn
    layers = nn.Embedding(vocabulary, 8), layer(0), layer(1), nn.Linear(8, vocabulary)
    return network(nn.Sequential(*layers).eval())


CHATML = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def talking():
    """A tokenizer of bytes, with a chat template."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    inner.add_special_tokens(["<s>", "</s>", "<h>", "<t>"])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<h>", "<t>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def talker():
    """A tiny Llama with such a tokenizer."""
    import transformers

    tokenizer = talking()
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=400, **sizes
    )
    return tl.TextModel(transformers.LlamaForCausalLM(config).eval(), tokenizer, "a tiny Llama")


def bert():
    """A small BERT from transformers, for text only."""
    import transformers

    sizes = dict(num_hidden_layers=1, num_attention_heads=1, hidden_size=8, intermediate_size=8)
    return transformers.BertModel(transformers.BertConfig(vocab_size=9, **sizes))
