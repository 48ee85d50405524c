"""Solutions of lesson 07, RNN against transformer."""


def dependent_steps(length, n_layers, recurrent):
    if recurrent:
        return length + n_layers - 1
    return n_layers + 0 * length


def path_length(source, place, reach):
    distance = (source - place).abs()
    return (distance + reach - 1) // reach
