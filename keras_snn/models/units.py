"""Moves the units of the neurons, `lam` and `theta`, into the weights."""

import keras
import numpy as np
from keras import tree

from keras_snn import surrogates
from keras_snn.models.probe import is_spiking
from keras_snn.models.synapses import (
    Graph,
    constants_of,
    recurrent_kernel,
    scaled_weights,
)
from keras_snn.models.time_axis import PER_TIMESTEP, is_symbolic, recomputed
from keras_snn.surrogates.base import Steep

__all__ = ["unit_neurons"]

# Layers, and operations by name, whose output is `c` times as large if all
# their inputs are, for `c` above 0. The classes of operations are not public.
HOMOGENEOUS = """
    Add Average AveragePooling1D AveragePooling2D AveragePooling3D Concatenate
    Copy Cropping1D Cropping2D Cropping3D Dropout ExpandDims Flatten FoldTime
    Functional GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D Identity Max MaxPooling1D MaxPooling2D MaxPooling3D
    Maximum Mean Min Minimum Permute Repeat RepeatVector Reshape
    SpatialDropout1D SpatialDropout2D SpatialDropout3D Squeeze Stack Subtract
    Sum Swapaxes Transpose UnfoldTime UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
# Those of several inputs. None of these may be a constant.
OF_SEVERAL = ("Add", "Concatenate", "Maximum", "Minimum", "Stack", "Subtract")


def unit_neurons(model):
    """Copies a model with neurons of `lam = theta = 1` that fire the same.

    The weights of the synapses are multiplied by `lam / theta`, and the
    steepness of the surrogates by `theta`. The spikes are the same, exactly if
    `lam / theta` and `theta` are powers of 2, otherwise up to rounding. In the
    new weights, learning rates have the same meaning for all neurons. With
    Adam, for example, a step is a fraction of the threshold.

    Penalties and constraints on weights stay as they are, so they now refer to
    the scaled weights.

    Args:
        model: A built functional or `Sequential` model, as `probe` takes it.

    Returns:
        A new model of the same class, not compiled. It shares nothing with
        `model`.

    Raises:
        ValueError: If the weights alone cannot take the factor: if spikes or
            inputs reach neurons without weights on the way, as through a
            shortcut, if weights serve other purposes, too, if `lam` or `theta`
            is learnt or an array of different numbers, or if a layer has an
            `initial_state` or `return_state`.

    Example:
    >>> from keras_snn.models import five_layer_snn
    >>> model = unit_neurons(five_layer_snn((8, 8, 1), lam=0.5, theta=2.0))
    >>> lif = model.get_layer("lif1")
    >>> lif.lam, lif.theta, lif.surrogate
    (1.0, 1.0, Arctan(a=4.0))
    """
    graph = Graph(model)
    factors = _factors(graph)
    copy = type(model).from_config(_in_units(model.get_config()))
    copy.set_weights(model.get_weights())
    pairs = zip(model.weights, copy.weights, strict=True)
    same = {id(old): new for old, new in pairs}
    for weight, factor in factors:
        new = same[id(weight)]
        new.assign(factor * np.array(keras.ops.convert_to_numpy(new.value)))
    return copy


def _factors(graph):
    """Returns pairs of a weight and its factor."""
    found, layers = {}, {}
    for neurons in graph.neurons():
        call = graph.calls[neurons.index]
        layer = call.operation
        lam, theta = _lam_and_theta(layer)
        if (lam, theta) != (1, 1):
            _check_states(call)
        factor = lam / theta
        constants = constants_of(layer)
        for name, unit in (("coupling", lam), ("jump", factor)):
            if name in constants.learn:
                weight = constants.weight_of(name)
                found[id(weight)] = weight, unit
        kernel = recurrent_kernel(layer)
        if kernel is not None:
            found[id(kernel)] = kernel, factor
        if factor == 1:
            factor = 1.0
        elif neurons.others:
            raise ValueError(
                "`model` must have weights that can be scaled on every way to "
                f"neurons. Received: layer {neurons.name!r}, reached by "
                f"{', '.join(neurons.others)}"
            )
        else:
            _check_path(graph, neurons)
        for each in neurons.layers:
            before, _ = layers.setdefault(id(each), (factor, each))
            if before != factor:
                raise ValueError(
                    "`model` must not share weights between neurons of "
                    "different `lam / theta`. Received: layer "
                    f"{each.name!r}, with factors {before:g} and {factor:g}"
                )
    scaled = {key: each for key, (f, each) in layers.items() if f != 1}
    _check_other_uses(graph, scaled)
    for factor, layer in layers.values():
        for weight in scaled_weights(layer):
            found[id(weight)] = weight, factor
    return list(found.values())


def _check_states(call):
    """Raises an error if a potential enters or leaves a layer of neurons."""
    layer = call.operation
    enters = call.argument("initial_state") is not None
    if enters or getattr(layer, "return_state", False):
        name = "initial_state" if enters else "return_state"
        raise ValueError(
            "`model` must have no potentials among its tensors, which would "
            f"keep their unit. Received: layer {layer.name!r} with `{name}`"
        )


def _lam_and_theta(layer):
    """Returns `lam` and `theta` of a layer of neurons."""
    cell = constants_of(layer)
    values = {}
    for name in ("lam", "theta"):
        found = np.unique(getattr(cell.neuron, name))
        if len(found) > 1 or name in cell.learn:
            raise ValueError(
                f"`{name}` must be one fixed number. Received: layer "
                f"{layer.name!r}, whose `{name}` is learnt or an array"
            )
        values[name] = float(found[0])
    return values["lam"], values["theta"]


def _check_path(graph, neurons):
    """Raises an error if something before the neurons does not scale."""
    for call in (graph.calls[index] for index in neurons.path):
        name = _hindrance(call)
        if name is not None:
            raise ValueError(
                "`model` must have nothing between weights and neurons that "
                "changes their scale. Received: layer "
                f"{neurons.name!r}, behind {name!r}"
            )


def _hindrance(call):
    """Returns the name of an operation that does not pass on a factor."""
    layer = call.operation
    while isinstance(layer, PER_TIMESTEP):
        layer = recomputed(layer.layer)
    if not isinstance(layer, keras.Operation):
        return None  # a copy
    if isinstance(layer, keras.Model) and layer is not call.operation:
        inside = Graph(layer)
        *_, path = inside.upstream(inside.outputs)
        names = (_hindrance(inside.calls[index]) for index in path)
        return next((name for name in names if name is not None), None)
    if type(layer).__name__ in OF_SEVERAL and not all(
        map(is_symbolic, tree.flatten(call.arguments[0]))
    ):
        return layer.name  # a constant has no weights
    if scaled_weights(layer):
        function = getattr(layer, "activation", None)
        known = None, keras.activations.linear, keras.activations.relu
        return None if function in known else layer.name
    return None if type(layer).__name__ in HOMOGENEOUS.split() else layer.name


def _check_other_uses(graph, scaled):
    """Raises an error if scaled weights affect more than neurons."""
    ways = [("the output", graph.outputs)]
    for call in graph.calls:
        if not call.synapses.passes and not is_spiking(call.operation):
            ways.append((call.operation.name, list(call.inputs.values())))
    for name, keys in ways:
        layers, *_ = graph.upstream(keys)
        for layer in layers:
            if id(layer) in scaled:
                raise ValueError(
                    "`model` must use weights for neurons alone. Received: "
                    f"layer {layer.name!r}, which {name} uses without neurons"
                )


def _in_units(config):
    """Returns a config whose neurons have `lam = theta = 1`."""
    if isinstance(config, (list, tuple)):
        return type(config)(map(_in_units, config))
    if not isinstance(config, dict):
        return config
    config = {key: _in_units(value) for key, value in config.items()}
    if {"lam", "theta", "surrogate"} <= config.keys():
        lam, theta = (np.ravel(config[x])[0].item() for x in ("lam", "theta"))
        surrogate = _steeper(surrogates.get(config["surrogate"]), theta)
        config |= {"surrogate": surrogates.serialize(surrogate)}
        config |= {"lam": 1.0, "theta": 1.0}
        # In units of the adaptation, too.
        for name, factor in (("coupling", lam), ("jump", lam / theta)):
            if name in config:
                config[name] = (factor * np.array(config[name])).tolist()
    return config


def _steeper(surrogate, theta):
    """Returns `theta` times the surrogate's derivative at `theta x`."""
    if theta == 1:
        return surrogate
    if isinstance(surrogate, surrogates.SpikeGated):
        return surrogates.SpikeGated(_steeper(surrogate.surrogate, theta))
    fast = isinstance(surrogate, surrogates.FastSigmoid)  # h'(0) is always 1
    if not isinstance(surrogate, Steep) or fast:
        raise ValueError(
            "`surrogate` must be one whose derivative at the threshold grows "
            f"with its steepness. Received: surrogate={surrogate!r}"
        )
    return type(surrogate)(surrogate.a * theta)
