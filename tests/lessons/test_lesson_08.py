"""The checks of lesson 08 accept right answers, however written, and name mistakes."""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.graders import find
from transformer_lab.lessons.solutions import lesson_08 as solutions
from transformer_lab.lessons.solutions.lesson_05 import SelfAttention
from transformer_lab.optim import noam


def mask_by_comparing(target, pad_id):
    place = torch.arange(target.shape[1])
    return (place[:, None] >= place) & target.ne(pad_id).unsqueeze(1)


def mask_with_loops(target, pad_id):
    batch, n = target.shape
    mask = torch.zeros(batch, n, n, dtype=torch.bool)
    for b in range(batch):
        for q in range(n):
            for k in range(q + 1):
                mask[b, q, k] = bool(target[b, k] != pad_id)
    return mask


def greedy_with_lists(next_scores, bos, eos, longest):
    written = []
    while len(written) < longest:
        scores = next_scores(torch.tensor([bos, *written])).tolist()
        new = scores.index(max(scores))
        if new == eos:
            break
        written.append(new)
    return torch.tensor(written, dtype=torch.long)


def greedy_cut_afterwards(next_scores, bos, eos, longest):
    ids = torch.tensor([bos])
    while len(ids) - 1 < longest and ids[-1] != eos:
        ids = torch.cat([ids, torch.softmax(next_scores(ids), -1).argmax(-1, keepdim=True)])
    ids = ids[1:]
    return ids[ids != eos].int()


def table_at_once(maps, source, target, pad_id, vocab_size):
    partners = source.gather(1, maps.sum(1)[:, :-1].argmax(-1))
    words = target[:, 1:]
    pairs = (words * vocab_size + partners)[words != pad_id]
    counts = pairs.bincount(minlength=vocab_size**2).view(vocab_size, vocab_size).double()
    return (counts / counts.sum(1, keepdim=True)).nan_to_num()


def table_with_dicts(maps, source, target, pad_id, vocab_size):
    found = {}
    for looks, words, written in zip(maps.mean(1), source.tolist(), target.tolist(), strict=True):
        for look, word in zip(looks, written[1:], strict=False):
            if word != pad_id:
                found.setdefault(word, []).append(words[int(look.argmax())])
    table = torch.zeros(vocab_size, vocab_size)
    for word, partners in found.items():
        for partner in set(partners):
            table[word, partner] = partners.count(partner) / len(partners)
    return table


def test_a_loop_that_waits_for_the_end_is_ended(judged):
    def until_the_end(next_scores, bos, eos, longest):
        ids = torch.tensor([bos])
        while ids[-1] != eos:
            ids = torch.cat([ids, next_scores(ids).argmax().view(1)])
        return ids[1:-1]

    assert "never ends" in judged("08/greedy", until_the_end, seconds=0.5).diagnosis


class FusedCross(solutions.CrossAttention):
    """With PyTorch's own kernel."""

    def forward(self, x, memory, real):
        q, k, v = (
            self.heads(part(t))
            for part, t in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None])
        return self.out(z.transpose(1, 2).flatten(2))


class EinsumCross(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n = config.n_heads
        for name in ("query", "key", "value", "out"):
            setattr(self, name, nn.Linear(config.d_model, config.d_model, bias=config.bias))

    def forward(self, x, memory, real):
        b, q, d = x.shape
        shape = (b, -1, self.n, d // self.n)
        query, key = self.query(x).view(shape), self.key(memory).view(shape)
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * (d // self.n) ** -0.5
        scores = torch.where(real.view(b, 1, 1, -1), scores, torch.tensor(-1e9, dtype=x.dtype))
        z = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), self.value(memory).view(shape))
        return self.out(z.reshape(b, q, d))


class LoopCross(solutions.CrossAttention):
    """Head by head, with a bias of −∞."""

    def forward(self, x, memory, real):
        size = x.shape[-1] // self.config.n_heads
        bias = torch.zeros(real.shape, dtype=x.dtype).masked_fill(real.logical_not(), -math.inf)
        heads = []
        for q, k, v in zip(
            *(t.split(size, -1) for t in (self.query(x), self.key(memory), self.value(memory))),
            strict=True,
        ):
            heads.append(torch.softmax(q @ k.mT / size**0.5 + bias[:, None], -1) @ v)
        return self.out(torch.cat(heads, -1))


def block(base, forward, **more):
    return type("Answer", (base,), {"forward": forward, **more})


def feed(self, x):
    return self.down(F.gelu(self.up(x)))


encoder_variants = [
    block(
        solutions.EncoderBlock,
        lambda s, x, real: (y := x + s.attention(h := s.norm1(x), h, real)) + feed(s, s.norm2(y)),
    ),
    block(
        solutions.EncoderBlock,
        lambda s, x, real: sum(
            (x, a := s.attention(s.norm1(x), s.norm1(x), real), feed(s, s.norm2(x + a)))
        ),
    ),
    block(
        solutions.EncoderBlock,
        lambda s, x, real: torch.add(
            y := s.attention(memory=s.norm1(x), x=s.norm1(x), real=real).add(x),
            s.down(nn.GELU()(s.up(s.norm2(y)))),
        ),
    ),
]


def decoder_in_a_loop(self, x, memory, real):
    parts = (
        (self.norm1, self.attention),
        (self.norm2, lambda h: self.cross(h, memory, real)),
        (self.norm3, lambda h: feed(self, h)),
    )
    for norm, part in parts:
        x = x + part(norm(x))
    return x


def decoder_named(self, x, memory, real):
    own = x + self.attention(self.norm1(x))
    asked = own + self.cross(x=self.norm2(own), memory=memory, real=real)
    return asked + self.down(nn.functional.gelu(self.up(self.norm3(asked))))


class DecoderOfItsOwn(nn.Module):
    """A decoder layer with lesson 05's SelfAttention, not built on the solution."""

    def __init__(self, config):
        super().__init__()
        d, b = config.d_model, config.bias
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(d, bias=b) for _ in range(3))
        self.attention, self.cross = SelfAttention(config), EinsumCross(config)
        self.up, self.down = nn.Linear(d, 4 * d, bias=b), nn.Linear(4 * d, d, bias=b)

    def forward(self, x, memory, real):
        x = self.attention(self.norm1(x)) + x
        x = self.cross(self.norm2(x), memory, real) + x
        return feed(self, self.norm3(x)) + x


class OneForward(solutions.EncoderDecoder):
    """`forward` written out, without `encode` and `decode`."""

    def forward(self, source, target):
        real = source.ne(self.config.pad_id)
        x = self.embedding(source) + self.positions.weight[: source.shape[1]]
        for layer in self.encoder:
            x = layer(x, real)
        y = self.embedding(target) + self.positions.weight[None, : target.shape[1]]
        for layer in self.decoder:
            y = layer(y, self.encoder_norm(x), real)
        return F.linear(self.decoder_norm(y), self.embedding.weight)


class TiedTheOtherWay(solutions.EncoderDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.embedding.weight = self.head.weight = nn.Parameter(self.head.weight.detach().clone())


class OtherMethods(solutions.EncoderDecoder):
    """Other blocks, and no `embed` method."""

    embed = None

    def __init__(self, config):
        super().__init__(config)
        self.decoder = nn.ModuleList(DecoderOfItsOwn(config) for _ in range(config.n_layers))

    def encode(self, source, real):
        x = self.embedding(source) + self.positions(torch.arange(source.size(1)))
        for layer in range(len(self.encoder)):
            x = self.encoder[layer](x, real)
        return self.encoder_norm(x)

    def decode(self, target, memory, real):
        x = self.embedding(target) + self.positions(torch.arange(target.size(-1)))
        for layer in self.decoder:
            x = layer(x, memory=memory, real=real)
        return self.head(self.decoder_norm(x))


def loop_with_lambda(model, batches, steps, lr, warmup, smoothing):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98), eps=1e-9)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, (warmup / (s + 1)) ** 0.5)
    )
    losses = torch.zeros(steps)
    for step in range(steps):
        batch = next(batches)
        optimizer.zero_grad()
        logits = model(batch.tokens, batch.target_in)
        loss = F.cross_entropy(logits.mT, batch.targets, label_smoothing=smoothing)
        loss.backward()
        optimizer.step()
        rate.step()
        losses[step] = loss.detach()
    return losses


def loop_by_hand(model, batches, steps, lr, warmup, smoothing):
    optimizer, losses = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9), []
    for s in range(1, steps + 1):
        batch = next(iter(batches))
        log_p = model(batch.tokens, batch.target_in).log_softmax(-1)
        real = batch.targets != -100
        right = log_p.gather(-1, batch.targets.clamp(min=0)[..., None])[..., 0]
        loss = -((1 - smoothing) * right + smoothing * log_p.mean(-1))[real].mean()
        for group in optimizer.param_groups:
            group["lr"] = lr * (s / warmup if s < warmup else math.sqrt(warmup / s))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


def loop_with_noam(model, batches, steps, lr, warmup, smoothing):
    """Equation 3 as it is."""
    peak = noam(warmup, d_model=model.embedding.weight.shape[1], warmup=warmup)
    return loop_by_hand(model, batches, steps, peak, warmup, smoothing)


def loop_with_decay(model, *settings):
    """The losses are right, and the weights change once more."""
    losses = loop_by_hand(model, *settings)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.9)
    return losses


def loop_by_the_paper(model, batches, steps, lr, warmup, smoothing):
    optimizer = torch.optim.Adam(model.parameters(), lr, (0.9, 0.98), 1e-9)
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    told = []
    for s, batch in zip(range(1, steps + 1), batches, strict=False):
        optimizer.param_groups[0]["lr"] = lr * warmup**0.5 * min(s**-0.5, s * warmup**-1.5)
        loss = criterion(model(batch.tokens, batch.target_in).flatten(0, 1), batch.targets.view(-1))
        model.zero_grad()
        loss.backward()
        optimizer.step()
        told += [loss.detach()]
    return torch.stack(told)


class Untied(solutions.EncoderDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.head.weight = nn.Parameter(self.head.weight.detach().clone())


class PlainList(solutions.EncoderDecoder):
    def __init__(self, config):
        super().__init__(config)
        del self.encoder
        self.encoder = [solutions.EncoderBlock(config)]


RIGHT = {
    "translation_table": (table_at_once, table_with_dicts),
    "decoder_mask": (mask_by_comparing, mask_with_loops),
    "greedy": (greedy_with_lists, greedy_cut_afterwards),
    "CrossAttention": (FusedCross, EinsumCross, LoopCross),
    "EncoderBlock": encoder_variants,
    "DecoderBlock": (
        block(solutions.DecoderBlock, decoder_in_a_loop),
        block(solutions.DecoderBlock, decoder_named),
        DecoderOfItsOwn,
    ),
    "EncoderDecoder": (OneForward, TiedTheOtherWay, OtherMethods),
    "train_translator": (loop_with_lambda, loop_by_hand, loop_by_the_paper),
}
WRONG = {
    "decoder_mask": {
        "no batch": (lambda t, p: mask_by_comparing(t, p)[0], "has shape"),
        "numbers": (lambda t, p: mask_by_comparing(t, p).float(), "torch.bool"),
    },
    "greedy": {"a list": (lambda *a: greedy_with_lists(*a).tolist(), "in a list")},
    "translation_table": {"one text": (lambda *a: table_at_once(*a)[0], "has shape")},
    "DecoderBlock": {
        "two arguments": (block(solutions.DecoderBlock, lambda s, x, memory: x), ["TypeError"])
    },
    "EncoderDecoder": {
        "no encode": (block(OneForward, OneForward.forward, encode=None), ["no method `encode`"]),
        "head not tied": (Untied, "Tie it to the embedding"),
        "a plain list": (PlainList, ["encoder.0.", "nn.ModuleList"]),
    },
    "train_translator": {
        "the paper's rate": (loop_with_noam, ["0.861 times the right ones", "its peak"]),
        "the paper's rate times lr": (
            lambda m, b, n, lr, w, *more: loop_by_hand(m, b, n, lr / w**0.5, w, *more),
            "0.577 times the right ones",
        ),
        "weights that decay": (loop_with_decay, "of the losses, followed by the model's weights"),
    },
}


test_right, test_odd, test_wrong = checks_of("08", RIGHT, WRONG)


def test_the_encoder_decoder_is_the_package_s():
    """Same logits from the same weights, with padding in both texts."""
    theirs = (
        tl.Transformer(
            tl.ModelConfig(
                kind="encoder-decoder",
                vocab_size=11,
                n_layers=2,
                n_heads=3,
                d_model=12,
                n_ctx=9,
                positions="learned",
                pad_id=0,
            )
        )
        .double()
        .eval()
    )
    sizes = SimpleNamespace(**vars(find("08", "EncoderDecoder").cases()[0].arguments[0]))
    mine = solutions.EncoderDecoder(sizes).double().eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(std=0.5)
        names = {n: n for n, _ in mine.named_parameters()} | {"head.weight": "head.weight"}
        for name in names:
            stack, _, rest = name.partition(".")
            there = name
            if stack in ("encoder", "decoder"):
                rest = rest.replace("up.", "feed_forward.up.").replace(
                    "down.", "feed_forward.down."
                )
                if stack == "encoder":
                    rest = rest.replace("norm2", "norm3")
                there = f"{stack}.blocks.{rest}"
            names[name] = there.replace("_norm", ".norm")
        weights = theirs.state_dict()
        mine.load_state_dict({name: weights[there] for name, there in names.items()})
        source = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
        target = torch.tensor([[1, 7, 8, 3], [1, 5, 0, 0]])
        real = target != 0
        wanted = theirs(source, target, mask=source != 0, target_mask=real)
        torch.testing.assert_close(mine(source, target)[real], wanted[real])
