"""Generation with models of transformers: each token is that of a plain pass, as a trace runs."""

import pytest
import torch

import transformer_lab as tl
from tests.missing import package
from transformer_lab.adapters.lookup import network_of
from transformer_lab.writing import Sampling, sampling_distribution

package("transformers")

from benchmarks.zoo.building import build, registered  # noqa: E402

TEXT = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
START = torch.tensor([[1]])
N = 5


@torch.no_grad()
def by_hand(model, written, draw=lambda logits: logits.argmax(-1, keepdim=True)):
    """Generate each token from the logits of a separate pass, without a cache or `generate`."""
    ids, end = TEXT if written is None else written, model.generation_config.eos_token_id
    before = ids.shape[1]
    while ids.shape[1] < before + N and (ids.shape[1] == before or ids[0, -1] != end):
        given = (
            dict(input_ids=ids) if written is None else dict(input_ids=TEXT, decoder_input_ids=ids)
        )
        ids = torch.cat((ids, draw(model(**given, use_cache=False).logits[:, -1])), 1)
    return ids[0, before:].tolist()


@pytest.mark.parametrize(
    "name",
    [
        "causal/llama",
        "causal/bart",  # its settings force the last token
        "causal/camembert",  # `generate` counts its positions from 0
        "causal/data2vec-text",
        "causal/deepseek_v32",  # selects other keys with a cache
        "causal/moshi",
        "causal/big_bird",  # changes its modules in the first pass
        "seq2seq/bart",
        "seq2seq/t5",
    ],
)
def test_every_token_is_that_of_the_plain_pass(name):
    model = build(registered()[name])
    network = network_of(model)
    written = START if network.kind == "encoder-decoder" else None

    def write(cached=True, **options):
        more = {} if written is None else {"written": written}
        sampling = Sampling(**options)
        return network.write(
            TEXT, N, bos_id=1, eos_id=None, sampling=sampling, cached=cached, **more
        )

    assert write() == write(cached=False) == by_hand(model, written)
    drawn, generator = dict(temperature=1.5, top_k=20), torch.Generator().manual_seed(3)

    def draw(logits):
        return torch.multinomial(sampling_distribution(logits, **drawn), 1, generator=generator)

    assert write(seed=3, **drawn) == by_hand(model, written, draw)
    with tl.edit(model, tl.ablate(0, 0, kind="decoder")):
        assert write() == write(cached=False) == by_hand(model, written)
