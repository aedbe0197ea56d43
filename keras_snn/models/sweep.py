"""Goes through a network layer by layer and rescales weights on the way."""

import contextlib
import math

import keras
import numpy as np
from keras import ops, tree

from keras_snn.models.rates import as_inputs, count, restored
from keras_snn.models.synapses import (
    Graph,
    constants_of,
    recurrent_kernel,
    scaled_weights,
)
from keras_snn.precision import at_least_float32

__all__ = ["Sweep"]

DOUBLINGS = 24  # of the weights, up or down, before the search gives up
CLOSE = 0.01  # relative deviation of the rate that counts as none


class _InTraining(keras.layers.Layer):
    """Runs a function with the mode that layers inside take from it."""

    def __init__(self):
        super().__init__(autocast=False)

    def build(self, input_shape):
        """Has no weights."""
        del input_shape

    def call(self, inputs, function=None, training=None):
        """Calls the function. Keras passes on `training`."""
        del inputs, training
        return function()


class _Mix(keras.layers.Layer):
    """A current whose part from the synapses is multiplied by a factor.

    Args:
        current: The current.
        other: The current if the weights of the synapses are 0.
        factor: A number.
    """

    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, current, other, factor):
        """Returns the current, with its mask."""
        dtype = at_least_float32(current.dtype)
        own = ops.cast(current, dtype)
        other = ops.cast(other, dtype)
        return ops.cast(other + factor * (own - other), current.dtype)


class Sweep:
    """Goes through a network once and calibrates each layer that it reaches.

    Args:
        model: The model.
        batches: List of batches.
        rate: The firing rate to reach.
    """

    def __init__(self, model, batches, rate):
        self.model, self.target = model, rate
        self.graph = Graph(model)
        self.found = self.graph.neurons()
        self.values = []  # of the tensors, by their keys, for every batch
        for batch in batches:
            arrays = tree.flatten(as_inputs(batch, self.graph.model))
            pairs = zip(self.graph.inputs, arrays, strict=True)
            self.values.append(dict(pairs))
        self.mode, self.mix = _InTraining(), _Mix()
        self.nothing = ops.zeros(())
        self.timesteps = {}  # of the current of each layer of neurons
        self.first = {}  # the first call of every layer of neurons
        for each in reversed(self.found):
            self.first[id(self.graph.calls[each.index].operation)] = each
        self._plan()

    def run(self):
        """Calibrates the layers, and returns `(factor, note)` of each."""
        here = {each.index: each for each in self.found}
        factors = {}
        with _without_gradient(), self._unchanged():
            for index in range(self.found[-1].index + 1):
                if index in here:
                    neurons = here[index]
                    factors[neurons.name] = self._calibrate(neurons)
                    key = self.graph.calls[index].sequences
                    length = self.values[0][key].shape[1]
                    self.timesteps[neurons.name] = length
                self._run([index])
                for values in self.values:
                    for key in self._done.get(index, ()):
                        values.pop(key, None)
        return factors

    def constants(self, neurons):
        """Returns the object that holds the constants of some neurons."""
        return constants_of(self.graph.calls[neurons.index].operation)

    def _plan(self):
        """Plans what runs again for which neurons, and what to forget when."""
        self.new, self.again = {}, {}
        scaled = set()
        for neurons in self.found:
            new = [x for x in neurons.layers if id(x) not in scaled]
            scaled |= set(map(id, new))
            self.new[neurons.name] = new
            self.again[neurons.name] = self._depending(neurons.path, new)
        last = {}  # call or neurons that use a tensor last
        for index, call in enumerate(self.graph.calls):
            last |= dict.fromkeys(call.inputs.values(), index)
        for neurons in self.found:
            for index in self.again[neurons.name]:
                for key in self.graph.calls[index].inputs.values():
                    last[key] = max(last[key], neurons.index)
        self._done = {}
        for key, index in last.items():
            self._done.setdefault(index, []).append(key)

    def _depending(self, path, layers):
        """Returns the calls of a path whose outputs depend on some layers."""
        found, changed = [], set()
        for index in path:
            call = self.graph.calls[index]
            own = any(x is y for x in call.synapses.layers for y in layers)
            if own or changed & set(call.inputs.values()):
                found.append(index)
                changed |= set(call.outputs)
        return found

    @contextlib.contextmanager
    def _unchanged(self):
        """Restores all variables at the end, but for those that it scaled.

        Restores these, too, if it does not get to the end.
        """
        scaled = {
            id(weight)
            for each in self.found
            for weight in self._weights(each) + self._recurrent(each)
        }
        variables = {True: [], False: []}
        for variable in self.model.variables:
            variables[id(variable) in scaled].append(variable)
        before = [np.array(ops.convert_to_numpy(x)) for x in variables[True]]
        try:
            with restored(variables[False]):
                yield
        except BaseException:  # also an interrupt
            for variable, value in zip(variables[True], before, strict=True):
                variable.assign(value)
            raise

    def _weights(self, neurons):
        """Returns the weights of the synapses that it scales."""
        layers = self.new[neurons.name]
        return [x for layer in layers for x in scaled_weights(layer)]

    def _recurrent(self, neurons):
        """Returns the recurrent kernel, at the first call of the neurons."""
        layer = self.graph.calls[neurons.index].operation
        first = self.first[id(layer)] is neurons
        kernel = recurrent_kernel(layer)
        learns = kernel is not None and kernel.trainable
        return [kernel] if first and learns else []

    def _calibrate(self, neurons):
        """Scales the synapses of some neurons, and returns `factor, note`.

        If the current is affine in the factor, two runs of the synapses give it
        for all factors. Otherwise they run for every factor that it tries.
        """
        again = self.again[neurons.name]
        weights = self._weights(neurons)
        if not weights:
            return 1.0, "no weights of its own"
        scale = _scaling(weights)
        scale_recurrent = _scaling(self._recurrent(neurons))
        key = self.graph.calls[neurons.index].sequences

        def currents(factor):
            scale(factor)
            # All runs have the same dropout.
            with restored(self._state(again)):
                self._run(again)
            return [values[key] for values in self.values]

        own, other = currents(1.0), currents(0.0)
        affine = _is_line(other[0], own[0], currents(2.0)[0])

        def rate(factor):
            scale_recurrent(factor)
            if affine:
                return self._rate(neurons, own, other, factor)
            now = currents(factor)
            return self._rate(neurons, now, now, 1.0)

        factor, note = _search(rate, self.target)
        scale(factor)
        scale_recurrent(factor)
        self._run(again)
        return factor, note

    def _state(self, indices):
        """Returns the variables that some calls may change."""
        operations = (self.graph.calls[index].operation for index in indices)
        layers = (x for x in operations if isinstance(x, keras.layers.Layer))
        return [each for x in layers for each in x.non_trainable_variables]

    def _run(self, indices):
        """Runs some calls."""
        for values in self.values:
            for index in indices:
                call = self.graph.calls[index]
                outputs = tree.flatten(self._apply(call, values))
                values.update(zip(call.outputs, outputs, strict=True))

    def _apply(self, call, values):
        args, kwargs = call.fill(values)
        training = True if call.training is None else call.training
        return self.mode(
            self.nothing,
            function=lambda: call.operation(*args, **kwargs),
            training=training,
        )

    def _rate(self, neurons, currents, others, factor):
        """Measures the rate of some neurons under a scaled current."""
        call = self.graph.calls[neurons.index]
        layer, key = call.operation, call.sequences
        spikes = timesteps = 0.0
        with restored(layer.non_trainable_variables):
            for values, current, other in zip(
                self.values, currents, others, strict=True
            ):
                scaled = self.mix(current, other=other, factor=factor)
                changed = values | {key: scaled}
                outputs = self._apply(call, changed)
                mask = call.mask(changed)
                found = count(layer, tree.flatten(outputs)[0], scaled, mask)
                total, steps = map(_as_array, found)
                spikes += total.sum()
                timesteps += steps.sum() * total[0].size
        return spikes / timesteps if timesteps else math.nan


def _is_line(first, second, third):
    """Returns whether three arrays are equally far apart."""
    first, second, third = map(_as_array, (first, second, third))
    error = np.abs(first - 2 * second + third)
    # What rounding in half precision makes of a line is still one.
    return bool(np.all(error <= 0.02 * np.abs(third - first).max()))


def _scaling(weights):
    """Returns a function that sets weights to multiples of what they are."""
    start = [np.array(ops.convert_to_numpy(x.value)) for x in weights]

    def scale(factor):
        for variable, value in zip(weights, start, strict=True):
            variable.assign(factor * value)

    return scale


def _as_array(x):
    return ops.convert_to_numpy(x).astype("float64")


def _search(rate, target):
    """Searches for the factor under which the neurons fire at a rate.

    Args:
        rate: Function of the factor.
        target: The rate to reach.

    Returns:
        `(factor, note)`. If no factor reaches the target, the one that comes
        closest and is closest to 1.
    """
    tried = {}

    def high(exponent):
        tried[exponent] = rate(2.0**exponent)
        # NaN comes from weights that are too large.
        return not tried[exponent] < target

    def gap(exponent):
        found = tried[exponent]
        return math.inf if math.isnan(found) else abs(found - target)

    start = high(0.0)
    if gap(0.0) <= CLOSE * target:
        return 1.0, ""
    ends = _bracket(high, start)
    if ends is None:
        least = min(map(gap, tried)) + CLOSE * target
        if math.isinf(least):
            return 1.0, "the rate is NaN"
        close = [x for x in tried if gap(x) <= least]
        best = 2.0 ** min(close, key=abs)
        return best, f"cannot fire at {target:g}"
    near, far = ends
    while abs(far - near) > 1e-3:
        middle = (near + far) / 2
        if high(middle) == start:
            near = middle
        else:
            far = middle
        if gap(middle) <= CLOSE * target:
            return 2.0**middle, ""
    best = min((near, far), key=gap)
    return 2.0**best, ""


def _bracket(high, start):
    """Searches for two neighboring integers on either side of the target.

    Args:
        high: Says on which side an exponent is.
        start: What it says of 0.

    Returns:
        The two, the one closer to 0 first, or `None` if all tried exponents
        are on one side.
    """
    toward = -1 if start else 1
    for sign in (toward, -toward):  # the rate may also fall with the factor
        for n in range(1, DOUBLINGS + 1):
            if high(float(sign * n)) != start:
                return sign * (n - 1.0), float(sign * n)
    return None


@contextlib.contextmanager
def _without_gradient():
    """Keeps PyTorch from recording the sweep."""
    if keras.config.backend() != "torch":
        yield
        return
    import torch

    with torch.no_grad():
        yield
