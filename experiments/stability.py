"""Why SGD fails for some neurons: gradients in the first iterations.

Just above the threshold, the derivative of a potential with respect to the one
before is about `-k u h'`, and `u h'` is about `theta a` for arctan. If
`k theta a > 1`, the gradient of a neuron that stays there grows at every
timestep. A detached reset removes the factor.

This experiment trains six neurons of Table A6 with SGD and averaged SGD, with
three steepnesses `a`, and with the reset attached and detached. It stores norms
of gradients, spread of potentials and firing rates.
"""

import itertools
import pathlib

import keras
import numpy as np
from keras import ops

from experiments import losses, recipes
from experiments.figures import SMALL, make
from experiments.recipes import neuron
from experiments.records import Measurements
from experiments.training import Trainer
from keras_snn import theory
from keras_snn.layers import LIF

__all__ = [
    "FILE",
    "NEURONS",
    "OPTIMIZERS",
    "STEEPNESS",
    "figure",
    "gradient_norms",
    "measure",
    "run",
]

# The cells of Table A6 where SGD or averaged SGD fails here, and two where it
# does not.
NEURONS = (
    (0.3, 0.1, 1.0),
    (0.8, 0.2, 1.0),
    (1.0, 1.0, 1.0),
    (0.5, 4.0, 1.0),
    (0.4, 0.4, 4.0),
    (0.6, 0.3, 4.0),
)
COLORS = {0.5: "#56b4e9", 1.0: "#0072b2", 2.0: "#d55e00"}
STEEPNESS = tuple(COLORS)
OPTIMIZERS = {"sgd": "SGD", "asgd": "averaged SGD"}
ITERATIONS, EVERY = 60, 5
FILE = "stability.json"  # in the folder of the results
SAMPLES = 64  # of the batch that is measured


def gradient_norms(model: keras.Model, loss, x, y) -> list[float]:
    """Returns the norm of the gradient of every kernel, in order.

    Args:
        model: A built model.
        loss: Maps labels and outputs to one loss per sample.
        x: Inputs.
        y: Labels.
    """
    variables = model.trainable_variables
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        state = [v.value for v in model.non_trainable_variables]

        def value(weights):
            outputs, _ = model.stateless_call(weights, state, x, training=True)
            return ops.mean(loss(y, outputs))

        gradients = jax.grad(value)([v.value for v in variables])
    elif backend == "torch":
        model.zero_grad()
        ops.mean(
            loss(ops.convert_to_tensor(y), model(x, training=True))
        ).backward()
        gradients = [v.value.grad for v in variables]
        model.zero_grad()
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = ops.mean(loss(y, model(x, training=True)))
        gradients = tape.gradient(value, [v.value for v in variables])
    return [
        float(np.linalg.norm(ops.convert_to_numpy(gradient)))
        for variable, gradient in zip(variables, gradients, strict=True)
        if variable.name == "kernel"
    ]


def measure(model: keras.Model, loss, x, y) -> dict[str, list[float]]:
    """Measures a model on one batch. Its random generators stay as they were.

    Returns:
        `"norms"`, the gradient of each kernel; `"spreads"`, the standard
        deviation of the potential over threshold of each layer of neurons; and
        `"rates"`, their firing rates.
    """
    state = model.non_trainable_variables
    before = [np.array(ops.convert_to_numpy(v.value)) for v in state]
    neurons = [x for x in model.layers if isinstance(x, LIF)]
    inputs = keras.Model(model.input, [layer.input for layer in neurons])
    spreads, rates = [], []
    for layer, current in zip(neurons, inputs(x), strict=True):
        current = ops.convert_to_numpy(current).swapaxes(0, 1)
        neuron = layer.k, layer.lam, layer.theta
        spikes, potential = theory.simulate(current, *neuron)
        spreads.append(float(potential.std() / layer.theta))
        rates.append(float(spikes.mean()))
    norms = gradient_norms(model, loss, x, y)
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)
    return {"norms": norms, "spreads": spreads, "rates": rates}


class _Watch(keras.callbacks.Callback):
    """Measures the model before training and every few iterations."""

    def __init__(self, loss, x, y):
        super().__init__()
        self.loss, self.x, self.y = loss, x, y
        self.history, self.done = {"iteration": []}, 0

    def on_train_begin(self, logs=None):  # noqa: ARG002
        """Measures the untrained model."""
        self._measure(0)

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        """Measures every few iterations."""
        self.done += 1
        if self.done % EVERY == 0:
            self._measure(self.done)

    def _measure(self, iteration):
        found = measure(self.model, self.loss, self.x, self.y)
        self.history["iteration"].append(iteration)
        for name, values in found.items():
            rounded = [float(f"{x:.3g}") for x in values]
            self.history.setdefault(name, []).append(rounded)


def run(path: pathlib.Path, data_dir=None, neurons=NEURONS, recipe=None):
    """Trains all combinations and stores the measurements as JSON.

    Combinations that are stored already are skipped.

    Args:
        path: The file.
        data_dir: Folder of the data.
        neurons: Tuples `(k, lam, theta)`.
        recipe: The recipe to vary; the analysis of MNIST by default.
    """
    recipe = recipe or recipes.get("mnist-analysis")
    stored = Measurements(path)
    data = recipe.load(data_dir)
    x, y = (each[:SAMPLES] for each in data[0])
    settings = OPTIMIZERS, neurons, STEEPNESS, (False, True)
    for optimizer, constants, a, detached in itertools.product(*settings):
        k, lam, theta = constants
        changes = {
            "network.k": k,
            "network.lam": lam,
            "network.theta": theta,
            "network.a": a,
            "network.detach_reset": detached,
            "training.optimizer": optimizer,
        }
        key = {"changes": changes}
        if stored.has(key):
            continue
        varied = recipe.vary(changes)
        loss = losses.get(varied.training.loss)
        watch = _Watch(loss, x, y)
        record = Trainer(varied, data, ITERATIONS).run(watchers=[watch])
        end = record.accuracy_at(ITERATIONS)
        stored.add(key, {"accuracy": end} | watch.history)
        name = f"{optimizer}, {neuron(*constants)}, a={a:g}"
        name += ", detached" * detached
        print(f"{name}: accuracy {end:.2f}", flush=True)


def figure(rows: list[dict], title: str, layers: bool = False):
    """Draws gradients, potentials and firing rates over the iterations.

    Args:
        rows: What `run` stores.
        title: Title of the figure.
        layers: Whether to show every layer, for the steepest surrogate alone.

    Returns:
        A `matplotlib.figure.Figure` with a column per neuron. Its rows are the
        largest gradient of a kernel, the spread of the first layer's potential,
        and that layer's firing rate; or the same of every layer.
    """
    names = [neuron(*_constants(row)) for row in rows]
    panels = list(dict.fromkeys(names))
    drawn, axes = make(
        3, len(panels), (2.4, 1.8), title, sharex=True, sharey="row"
    )
    for row, name in zip(rows, names, strict=True):
        column = panels.index(name)
        for label, style, series in _curves(row, layers):
            for axis, values in zip(axes[:, column], series, strict=True):
                if len(values):
                    at = row["iteration"]
                    axis.plot(at, values, linewidth=1, label=label, **style)
        k, _, theta = _constants(row)
        steepness = STEEPNESS[-1:] if layers else STEEPNESS
        steep = ", ".join(f"{k * theta * x:g}" for x in steepness)
        axes[0, column].set_title(f"{name}\nk θ a = {steep}", fontsize=7)
        axes[2, column].set_xlabel("iteration", **SMALL)
    most, first = ("", "") if layers else ("largest ", ", layer 1")
    labels = (
        f"{most}gradient\nof a kernel",
        f"spread of potential\nover θ{first}",
        f"firing rate{first}",
    )
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label, fontsize=8)
    axes[0, 0].set_yscale("log")
    axes[1, 0].set_yscale("log")
    handles = axes[0, 0].get_legend_handles_labels()
    drawn.legend(
        *handles, loc="outside right center", frameon=False, fontsize=8
    )
    return drawn


def _curves(row, layers):
    """Yields label, style, and gradients, spreads and rates of each curve."""
    a, detached = (
        row["changes"][f"network.{x}"] for x in ("a", "detach_reset")
    )
    reset = "detached" if detached else "attached"
    style = {"ls": "--" if detached else "-"}
    norms, spreads, rates = (
        np.transpose(row[x]) for x in ("norms", "spreads", "rates")
    )
    if not layers:
        style["color"] = COLORS[a]
        yield f"a={a:g}, {reset}", style, (norms.max(0), spreads[0], rates[0])
    elif a == STEEPNESS[-1]:
        for i, norm in enumerate(norms):  # the last kernel has no neurons
            others = [x[i] if i < len(x) else () for x in (spreads, rates)]
            style = style | {"color": f"C{i}"}
            yield f"layer {i + 1}, {reset}", style, (norm, *others)


def _constants(row):
    return tuple(row["changes"][f"network.{x}"] for x in ("k", "lam", "theta"))
