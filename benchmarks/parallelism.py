"""Forward and backward over texts of 32 … 1024 tokens: a transformer and an LSTM of equal size.

Times are reported without a bar: on a few CPU cores a recurrent layer can be the faster one, because
its steps are cheap and little can run in parallel. The two differ by design in how many steps depend
on one another and in how far a signal travels; both counts are in each row.
"""

import torch
import torch.nn.functional as F

import transformer_lab as tl
from transformer_lab.recurrent import dependent_steps, path_length

from .report import BLUE, ORANGE, Clock, Row, plot

LENGTHS = (32, 64, 128, 256, 512, 1024)
N_LAYERS, D_MODEL, VOCAB = 4, 128, 65


def pair(seed: int):
    """A transformer and an LSTM language model with the same number of parameters (within 1 %)."""
    torch.manual_seed(seed)
    transformer = tl.Transformer(
        tl.ModelConfig(vocab_size=VOCAB, n_layers=N_LAYERS, d_model=D_MODEL, n_ctx=max(LENGTHS))
    )
    wanted = transformer.n_parameters()
    size = lambda d: VOCAB * d + N_LAYERS * (8 * d * d + 8 * d)  # noqa: E731
    width = min(range(16, 512), key=lambda d: abs(size(d) - wanted))
    lstm = tl.Recurrent(
        tl.RecurrentConfig(vocab_size=VOCAB, n_layers=N_LAYERS, d_model=width, n_ctx=max(LENGTHS))
    )
    return transformer, lstm


def seconds_a_pass(model, length: int, repeats: int) -> tuple[float, float]:
    """CPU and wall seconds of the fastest of several forward and backward passes over one text."""
    device = model.device
    tokens = torch.randint(VOCAB, (1, length), device=device)
    times = []
    for _ in range(repeats + 1):  # the first warms up
        with Clock() as clock:
            logits = model(tokens)
            F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
        times.append((clock.cpu, clock.wall))
    return min(t[0] for t in times[1:]), min(t[1] for t in times[1:])


def run(options, device="cpu"):
    with Clock() as clock:
        models = dict(zip(("transformer", "LSTM"), pair(options.seed), strict=True))
        sizes = {name: model.n_parameters() for name, model in models.items()}
        curves = {name: {} for name in models}
        for length in LENGTHS:
            for name, model in models.items():
                curves[name][length] = seconds_a_pass(model.to(device), length, 15)
    yield Row(
        "parameters, transformer / LSTM",
        round(sizes["transformer"] / sizes["LSTM"], 4),
        "×",
        None,
        None,
        round(clock.cpu, 1),
        options.seed,
        note=f"{sizes['transformer']:,} and {sizes['LSTM']:,}",
    )
    which = 1 if device == "cuda" else 0
    for length in LENGTHS:
        a, b = (1000 * curves[name][length][which] for name in models)
        waits = [dependent_steps(m.config, length) for m in models.values()]
        paths = [path_length(m.config, length) for m in models.values()]
        yield Row(
            f"forward + backward at length {length}, LSTM / transformer ({device})",
            round(b / a, 3),
            "× time",
            None,
            None,
            round(clock.cpu, 1),
            options.seed,
            note=f"transformer {a:.1f} ms, LSTM {b:.1f} ms; dependent steps {waits[0]} and {waits[1]}; "
            f"path length {paths[0]} and {paths[1]}",
        )
    yield Row(
        f"the faster of the two by length ({device})",
        crossover({n: {k: v[which] for k, v in c.items()} for n, c in curves.items()}),
        "tokens",
        None,
        None,
        round(clock.cpu, 1),
        options.seed,
    )
    picture = options.out / f"parallelism_{device}.png"
    unit = "wall" if device == "cuda" else "CPU"
    title = f"Forward + backward, {sizes['transformer'] / 1e6:.2f} M parameters each"
    with plot(picture, title=title, x="tokens", y=f"milliseconds ({unit})") as axes:
        for (name, curve), colour in zip(curves.items(), (BLUE, ORANGE), strict=True):
            times = [1000 * curve[n][which] for n in LENGTHS]
            axes.plot(LENGTHS, times, "o-", color=colour, label=name, linewidth=2, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(LENGTHS, [str(n) for n in LENGTHS])


def crossover(curves) -> str:
    """The faster model at the shortest length, and each length at which that changes."""
    leads = [
        "transformer" if curves["transformer"][n] < curves["LSTM"][n] else "LSTM" for n in LENGTHS
    ]
    if len(set(leads)) == 1:
        return f"{leads[0]} from {LENGTHS[0]} to {LENGTHS[-1]}"
    changes = [
        f"{after} from {n}"
        for n, before, after in zip(LENGTHS[1:], leads, leads[1:], strict=False)
        if before != after
    ]
    return f"{leads[0]} at {LENGTHS[0]}, then " + ", then ".join(changes)
