"""The nodes of neurons, and of spikes without a state."""

import keras
import numpy as np

from keras_snn import layers, surrogates
from keras_snn.nir.constants import to_node
from keras_snn.nir.weights import array, flat, refusal

__all__ = ["neurons"]

NEURONS = (
    layers.CubaLIF,
    layers.CubaLIFCell,
    layers.LIF,
    layers.LIFRNNCell,
    layers.LeakyIntegrator,
    layers.LeakyIntegratorCell,
    layers.RecurrentCubaLIF,
    layers.RecurrentLIF,
)


def neurons(recipes, layer, value, dt, reset):
    """Writes neurons, and their recurrent weights.

    Args:
        recipes: The nodes so far.
        layer: Any layer.
        value: The `Value` of its inputs.
        dt: See `to_nir`.
        reset: See `to_nir`.

    Returns:
        The `Value` of the spikes or potentials.

    Raises:
        ValueError: If NIR cannot express the layer.
    """
    fires = type(layer) is keras.layers.Activation and isinstance(
        layer.activation, surrogates.Surrogate
    )
    unit = layer.cell if type(layer) is keras.layers.RNN else layer
    holder = unit
    if type(unit) is layers.RecurrentCell:
        unit = unit.cell
    if not fires and type(unit) not in NEURONS:
        raise refusal(layer, "there is no such node")
    if value.averaged:
        raise refusal(layer, "it comes after a mean over time")
    if fires:
        zeros = np.zeros(value.shape)
        name = recipes.add(
            layer.name, "Threshold", value.sources, threshold=zeros
        )
        return value.but(sources=(name,))
    if layer.go_backwards or layer.return_state or not layer.return_sequences:
        raise refusal(
            layer, "it must return the sequence of its outputs alone, in order"
        )
    if hasattr(unit, "theta") and unit.reset != reset:
        raise refusal(
            layer,
            f"its reset is {unit.reset!r}, and `reset` is {reset!r}. All "
            "neurons of a graph reset alike, to zero or by subtraction",
        )
    kernel = getattr(holder, "recurrent_kernel", None)
    if kernel is None:
        kind, parameters = to_node(unit, value, dt)
        name = recipes.add(layer.name, kind, value.sources, **parameters)
        return value.but(sources=(name,))
    value = flat(recipes, layer, value)
    kind, parameters = to_node(unit, value, dt)
    # snnTorch looks for these names.
    name = recipes.add(f"{layer.name}.lif", kind, value.sources, **parameters)
    weight = np.empty(kernel.shape, "float32")
    weight[np.ix_(value.where, value.where)] = array(kernel).T
    back = recipes.add(f"{layer.name}.w_rec", "Linear", (name,), weight=weight)
    recipes.edges.append((back, name))
    return value.but(sources=(name,))
