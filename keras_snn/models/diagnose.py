"""Names the layers of a network that cannot learn, and says what to change."""

import dataclasses
import warnings

import keras
import numpy as np
from keras import ops

from keras_snn.layers.walk import walk
from keras_snn.models.probe import is_spiking, rerun
from keras_snn.models.rates import Batches, FiringRates, restored
from keras_snn.models.report import table
from keras_snn.models.synapses import constants_of

__all__ = ["Diagnosis", "Finding", "diagnose"]

SILENT = 0.005  # firing rate
SATURATED = 0.8
SHIFTED = 2.0  # ratio of the firing rates of the two modes
# Of `Diagnosis.effects`.
VANISHING, EXPLODING = 1e-5, 1e3

WEAK = (
    "Its currents are too small. Scale up the weights or the normalization "
    "before it with `keras_snn.calibrate(model, x)`, or start them as "
    "`initializers.for_layer` or `initializers.for_normalization` says."
)
STRONG = (
    "Its currents are so large that it fires whatever the input. Scale down "
    "the weights before it with `keras_snn.calibrate(model, x)`."
)
AVERAGES = (
    "The moving averages of a normalization before it are not yet those of the "
    "batches. Train for longer, or lower its `momentum`."
)
LOST = (
    "Too little of the gradient gets through the layers after it. Their "
    "surrogate is too steep or too flat, or there are too many layers. "
    '`initializer="stationary", surrogate="auto"` sets one that fits in the '
    "builders, and `initializers.for_gradient` in your own layers. Plain "
    "networks of more than 20 layers need shortcuts or `CopyInitializer`."
)
RANDOM = "Start them from random weights."
GROWN = (
    "The gradient grows on its way to it. Use `detach_reset=True` or a less "
    "steep surrogate, in the neurons after it first."
)
NOT_FINITE = "Look for weights or inputs that are not finite."
RESET = (
    "At the threshold, the gradient through the reset grows at every timestep "
    "by `k theta h'(0)`, here up to {:.2g}. Use `detach_reset=True` or a less "
    "steep surrogate."
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A problem of one or more layers.

    Attributes:
        problem: `"silent"`, `"saturated"`, `"shifted"` (rates that differ
            between the modes), `"nan"`, `"vanishing"` or `"exploding"`.
        layers: Names of the layers that have it, in the order of the network.
        observation: What was measured, in a sentence.
        advice: The cause and what to change.
    """

    problem: str
    layers: tuple[str, ...]
    observation: str
    advice: str

    def __str__(self):
        return f"{self.observation} {self.advice}"


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. Print it.

    Attributes:
        rates: Maps the name of each layer of neurons to its firing rates
            `(in inference, in training)`.
        effects: Maps the path of each kernel to the norm of its gradient times
            its own norm: how much the loss changes if the kernel changes by a
            given percentage. Unlike the gradient alone, it does not depend on
            `lam` and `theta`. Empty without labels.
        findings: List of `Finding`. Empty if nothing is wrong.
    """

    rates: dict[str, tuple[float, float]]
    effects: dict[str, float]
    findings: list[Finding]

    def __str__(self):
        rows = [
            (name, f"{inference:.3f}", f"{training:.3f}")
            for name, (inference, training) in self.rates.items()
        ]
        head = "neurons", "rate in inference", "in training"
        parts = [table(head, rows)]
        if self.effects:
            rows = [(x, f"{effect:.1e}") for x, effect in self.effects.items()]
            parts.append(table(("kernel", "effect on the loss"), rows))
        parts += map(str, self.findings or ["No problem was found."])
        return "\n\n".join(parts)


def diagnose(model, x, y=None, batch_size=None):
    """Finds the layers that are silent or saturated, or lose the gradient.

    It measures firing rates in inference and in training. With labels it also
    measures the gradient of one batch under the loss that `model` is compiled
    with. The model stays as it was.

    | problem | criterion |
    | --- | --- |
    | silent | fires at less than 0.5 % of the timesteps in training |
    | saturated | fires at more than 80 % of the timesteps in training |
    | shifted | the rates of the two modes differ by more than a factor of 2 |
    | nan | a rate, or the gradient of the last kernel, is NaN |
    | vanishing | a kernel has at most 1e-5 of the effect of a later one |
    | exploding | a kernel has over 1e3 times the lower quartile after it |

    A layer counts as shifted only if one of the two rates is above 0.5 %. A
    kernel whose effect is not finite counts as exploding.

    If several layers are silent, start with the first: the others only lack
    input. Silent and saturated layers also block the gradient, so vanishing
    gradients are reported only if there are none. Kernels of zeros are always
    reported. `residual_snn` makes the ends of its branches nearly silent on
    purpose, and those of `"sew-and"` saturated.

    Args:
        model: A model that `keras_snn.models.probe` takes.
        x: Inputs, as `callbacks.firing_rates` takes them. All of them are held
            in memory.
        y: Labels of `x`, an array of as many samples in the same order, or a
            structure of them for several outputs. `x` must then be arrays, too,
            and the model compiled. The gradient is that of the first batch,
            penalties on weights included.
        batch_size: Samples per batch, at least 1. `None` means 32.

    Returns:
        A `Diagnosis`. `print` shows it.

    Raises:
        ValueError: If `y` is given for a model that is not compiled or for
            batches, or has another number of samples, or `probe` does not
            accept the model.

    Example:
    >>> from keras_snn.models import five_layer_snn
    >>> model = five_layer_snn((8, 8, 1), initializer="glorot", seed=0)
    >>> found = diagnose(model, np.ones((4, 8, 8, 1), "float32"))
    >>> found.findings[0].problem, found.findings[0].layers[0]
    ('silent', 'lif1')
    """
    measures = FiringRates(model), FiringRates(model, training=True)
    read = Batches(x, batch_size)
    batches, effects = list(read), {}
    if y is not None:
        _check_labels(y, read.samples)
        effects = _effects(model, *_first(batches, y))
    inference, training = (measure(batches) for measure in measures)
    rates = {
        name: (inference[name][0], training[name][0]) for name in inference
    }
    findings = list(_of_rates(rates))
    stuck = {"silent", "saturated"} & {x.problem for x in findings}
    zeros = [
        x.path
        for x in model.trainable_variables
        if x.path in effects and not ops.convert_to_numpy(x.value).any()
    ]
    if zeros:
        text = f"All weights are zero in {_names(zeros)}: no gradient passes."
        findings.append(Finding("vanishing", tuple(zeros), text, RANDOM))
    elif not stuck:
        findings += _vanishing(effects)
    findings += _exploding(effects, _reset_growth(model))
    return Diagnosis(rates, effects, findings)


def _of_rates(rates):
    """Yields what is wrong with firing rates."""
    silent = [name for name, (_, rate) in rates.items() if rate < SILENT]
    if silent:
        first = silent[0]
        text = f"`{first}` is silent: it fires at {rates[first][1]:.1%} of the"
        text += " timesteps."
        if len(silent) > 1:
            text += f" {len(silent) - 1} more are silent, {_names(silent[1:])}."
        yield Finding("silent", tuple(silent), text, WEAK)
    for name, (inference, rate) in rates.items():
        if np.isnan(rate + inference):
            text = f"`{name}` has spikes that are NaN."
            yield Finding("nan", (name,), text, NOT_FINITE)
            return  # The layers after it have them, too.
        if rate > SATURATED:
            text = f"`{name}` is saturated: it fires at {rate:.0%} of the"
            text += " timesteps."
            yield Finding("saturated", (name,), text, STRONG)
    shifted = [
        name
        for name, pair in rates.items()
        if max(pair) > max(SILENT, SHIFTED * min(pair))
    ]
    if shifted:
        inference, rate = rates[shifted[0]]
        text = f"`{shifted[0]}` fires at {rate:.1%} of the timesteps in"
        text += f" training and at {inference:.1%} in inference."
        if len(shifted) > 1:
            text += f" The rates of {len(shifted) - 1} more differ as much,"
            text += f" {_names(shifted[1:])}."
        yield Finding("shifted", tuple(shifted), text, AVERAGES)


def _reset_growth(model):
    """Returns the largest `theory.reset_growth` of the neurons of a model."""
    largest = 0.0
    for layer in filter(is_spiking, walk(model)):
        cell = constants_of(layer)
        if cell.reset != "none" and not cell.detach_reset:
            peak = float(cell.surrogate.derivative(ops.zeros(())))
            k, theta = map(ops.convert_to_numpy, (cell.k, cell.theta))
            largest = max(largest, float(np.max(k * theta)) * peak)
    return largest


def _exploding(effects, growth):
    """Yields the last kernel where the gradient is NaN or has grown."""
    names, sizes = list(effects), np.array(list(effects.values()))
    if len(sizes) and np.isnan(sizes[-1]):
        text = f"The gradient of `{names[-1]}` is NaN, so the loss is, too."
        yield Finding("nan", tuple(names), text, NOT_FINITE)
        return
    for number in reversed(range(len(names))):
        after = sizes[number + 1 :]
        # Growth is steady over the layers, so the neighbor tells little.
        low = np.quantile(after, 0.25) if len(after) else 0.0
        if not np.isfinite(sizes[number]) or (
            low and sizes[number] > EXPLODING * low
        ):
            text = f"The gradient explodes at `{names[number]}`: its effect on"
            text += f" the loss is {sizes[number]:.1e}."
            if len(after):
                text += f" A quarter of those after it have at most {low:.1e}."
            advice = RESET.format(growth) if growth > 1 else GROWN
            yield Finding("exploding", (names[number],), text, advice)
            return  # Those before it get the same gradient.


def _vanishing(effects):
    """Yields the kernels that get too little of the gradient."""
    names, sizes = list(effects), np.array(list(effects.values()))
    if not np.isfinite(sizes).all():
        return
    lost = [
        name
        for number, name in enumerate(names)
        if sizes[number] <= VANISHING * sizes[number + 1 :].max(initial=0)
    ]
    if lost:
        text = f"The gradient vanishes at {_names(lost)}: the effect on the"
        text += f" loss is {effects[lost[0]]:.1e} at the first, and"
        text += f" {sizes.max():.1e} at most."
        yield Finding("vanishing", tuple(lost), text, LOST)


def _names(names):
    """Returns the first and the last of some names."""
    few = names if len(names) < 4 else (names[0], "...", names[-1])
    return ", ".join(x if x == "..." else f"`{x}`" for x in few)


def _check_labels(y, samples):
    if samples is None:
        raise ValueError(
            "`y` must be `None` if `x` comes in batches: pass both as arrays. "
            "Received: labels together with batches"
        )
    shapes = [tuple(np.shape(x)) for x in keras.tree.flatten(y)]
    if not all(shape and shape[0] == samples for shape in shapes):
        raise ValueError(
            f"`y` must be arrays of {samples} samples, as many as `x` has. "
            f"Received: shapes {shapes}"
        )


def _first(batches, y):
    """Returns the first batch and its labels."""
    x = batches[0]
    size = len(keras.tree.flatten(x)[0])
    return x, keras.tree.map_structure(lambda labels: labels[:size], y)


class _Gradients(keras.optimizers.Optimizer):
    """Keeps the gradients instead of updating the variables.

    A gradient stays at zero if Keras leaves out its variable, on which the loss
    does not depend.
    """

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.gradients = self.add_optimizer_variables(variables, "gradient")

    def of(self, variable):
        """Returns the gradient of a variable, as a variable."""
        return self.gradients[self._get_variable_index(variable)]

    def update_step(self, gradient, variable, learning_rate):
        del learning_rate
        found = self.of(variable)
        self.assign(found, ops.cast(gradient, found.dtype))


def _effects(model, x, y):
    """Returns the effect of every kernel on the loss, by its path."""
    if not model.compiled or model.loss is None:
        raise ValueError(
            "`y` needs a model that is compiled with a loss. Received: model "
            f"{model.name!r}, loss={getattr(model, 'loss', None)!r}"
        )
    copy = rerun(model, lambda call, *args, **kwargs: call(*args, **kwargs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras would rather not write lambdas.
        weights = model.get_compile_config()["loss_weights"]
    gradients = _Gradients(0.0, name="gradients")
    copy.compile(
        gradients,
        model.loss,
        loss_weights=weights,
        # On TensorFlow, a single step does not repay the time to compile it.
        jit_compile=keras.config.backend() == "jax",
        auto_scale_loss=False,
    )
    with restored(copy.variables), warnings.catch_warnings():
        # Their effect of 0 says the same.
        warnings.filterwarnings("ignore", "Gradients do not exist")
        copy.train_on_batch(x, y)
    return {
        variable.path: _norm(variable) * _norm(gradients.of(variable))
        for variable in model.trainable_variables
        if variable.name.endswith("kernel")
    }


def _norm(variable):
    return float(np.linalg.norm(ops.convert_to_numpy(variable.value)))
