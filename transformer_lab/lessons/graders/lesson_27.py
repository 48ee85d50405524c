"""Checks of lesson 27, What an MLP knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, Unfit, built, random
from transformer_lab.lessons.solutions import lesson_27 as solutions


def _use(made: Any, x: Tensor, sizes: tuple[int, int, int], method: str) -> Tensor:
    """The result of a method for x, of an object with the grader's weights."""
    d_model, n_features, _ = sizes
    wanted: dict[str, tuple[int, ...]] = {
        "encoder.weight": (n_features, d_model),
        "encoder.bias": (n_features,),
        "decoder.weight": (d_model, n_features),
        "decoder.bias": (d_model,),
    }
    module: Any = built(lambda given: made(*given), sizes, wanted, x)
    if not callable(getattr(module, method, None)):
        raise Unfit(f"It has no method `{method}`.")
    result = getattr(module, method)(x)
    return result.detach() if isinstance(result, Tensor) else result


def _cases() -> list[Case]:
    features = torch.relu(random(3, 4, 8))
    return [
        Case("`encode` of 6 tokens, 2 of 9 features each", (random(1, 6, 5), (5, 9, 2), "encode")),
        Case(
            "`encode` of 7 tokens, 8 of 10 features each", (random(2, 7, 4), (4, 10, 8), "encode")
        ),
        Case("`decode` of 4 tokens' features", (features, (5, 8, 3), "decode")),
        Case("`loss` of 6 tokens", (2 + random(4, 6, 5), (5, 9, 2), "loss")),
        Case("`loss` of 9 tokens", (random(5, 9, 3), (3, 7, 3), "loss")),
    ]


AUTOENCODER = Grader(
    reference=solutions.SparseAutoencoder,
    cases=_cases,
    use=_use,
    noun="class",
    shape_hint="[token, feature] of `encode`, [token, d_model] of `decode`, and one number of `loss`",
    mistakes="""
# bias
- self.encoder(x - self.decoder.bias)
+ self.encoder(x)
  `encode` does not subtract the decoder's bias from x.

- self.encoder(x - self.decoder.bias)
+ self.encoder(x + self.decoder.bias)
  `encode` adds the decoder's bias to x. Subtract it.

- self.encoder(x - self.decoder.bias)
+ (self.encoder(x) - self.encoder.bias)
  `encode` subtracts the encoder's bias, which takes it away again. Subtract the *decoder's* bias, from x.

# sign
- .relu()
  Negative numbers are left. Apply a ReLU before you choose the largest.

- .relu()
+ .abs()
  You took absolute values, so a feature is active on both of its sides. Use a ReLU.

- .relu()
+ .sigmoid()
  You applied a sigmoid. Use a ReLU, which keeps the size of a feature.

# choice
- activations.topk(self.k, dim=-1)
+ activations.topk(self.k, dim=-1, largest=False)
  You kept the k smallest features of each token. Keep the largest.

- activations.topk(self.k, dim=-1)
- return torch.zeros_like(activations).scatter(-1, active, top)
+ activations.topk(min(self.k, len(activations)), dim=0)
+ return torch.zeros_like(activations).scatter(0, active, top)
  Here each feature chooses k tokens. Each token should choose k features: take `topk` over the last dimension.

- activations.topk(self.k, dim=-1)
- return torch.zeros_like(activations).scatter(-1, active, top)
+ activations.flatten().topk(self.k * len(activations))
+ return torch.zeros_like(activations.flatten()).scatter(0, active, top).view_as(activations)
  You chose the largest over all tokens together. Keep k features of *each* token.

- return torch.zeros_like(activations).scatter(-1, active, top)
+ return activations
  Every feature may be active. Keep the k largest of each token, and set the others to 0.

- scatter(-1, active, top)
+ scatter(-1, active, 1.0)
  Active features are all 1. Keep their activations as they are.

# decode
- self.decoder(features)
+ features @ self.decoder.weight.T
  `decode` lacks the decoder's bias.

- self.decoder(features)
+ self.decoder(features) + self.decoder.bias
  `decode` adds the decoder's bias twice: `self.decoder(…)` already includes it.

- self.decoder(features)
+ features @ self.encoder.weight
  `decode` uses the encoder's weight. The directions are the decoder's.

# loss
- / (x - x.mean(dim=0)).pow(2).sum()
  `loss` is the sum of the squared errors. Divide by the sum of squares of x minus its mean.

- missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()
+ missed.pow(2).mean()
  `loss` is the mean squared error. Divide the sum of squared errors by the sum of squares of x minus its mean.

- (x - x.mean(dim=0))
+ x
  You divided by the sum of squares of x. Subtract its mean over the tokens first: the mean alone would score 1.

- x.mean(dim=0)
+ x.mean()
  You subtracted one number, the mean of all of x. Take the mean over the tokens: a vector.

- x.mean(dim=0)
+ x.mean(dim=1, keepdim=True)
  You subtracted each token's own mean. Take the mean over the tokens: a vector.

- missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()
+ (missed.pow(2).sum(dim=1) / (x - x.mean(dim=0)).pow(2).sum(dim=1)).mean()
  You divided token by token. Take both sums over all tokens first, and divide then.

- missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()
+ missed.abs().sum() / (x - x.mean(dim=0)).abs().sum()
  You took absolute values. Use squares.

- missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()
+ (missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()).sqrt()
  You took a square root. Return the ratio of the two sums of squares.

- return missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()
+ return 1 - missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()
  This is the fraction that is captured. Return the fraction that is *missed*.
""",
)
