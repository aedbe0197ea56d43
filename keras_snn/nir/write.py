"""A graph of NIR of a Keras model."""

import keras
import numpy as np
from keras import tree

from keras_snn import layers
from keras_snn.files import replacing
from keras_snn.models.time_axis import (
    PER_TIMESTEP,
    check_has_graph,
    has_graph,
    is_symbolic,
    makes_masks,
    operations,
    recomputed,
    replay,
    takes_images,
)
from keras_snn.nir import weights, windows
from keras_snn.nir.graph import package
from keras_snn.nir.neurons import neurons
from keras_snn.nir.read import RESETS
from keras_snn.nir.recipes import Recipes, Value, channels_last
from keras_snn.nir.shapes import added, encoded, is_sum, moved
from keras_snn.nir.targets import TARGETS, adapt
from keras_snn.nir.weights import flattened, refusal
from keras_snn.validation import check_choice, check_number

__all__ = ["Writer", "compatibility", "to_nir"]

# Layers without a state that have a node, and the functions that write it.
STATELESS = {
    keras.layers.AveragePooling2D: windows.pool,
    keras.layers.BatchNormalization: weights.normalization,
    keras.layers.Conv1D: windows.convolution,
    keras.layers.Conv2D: windows.convolution,
    keras.layers.Dense: weights.dense,
    keras.layers.DepthwiseConv2D: windows.convolution,
    keras.layers.GlobalAveragePooling2D: windows.pool_all,
    keras.layers.Rescaling: weights.rescaling,
    keras.layers.ZeroPadding1D: windows.zeros,
    keras.layers.ZeroPadding2D: windows.zeros,
    layers.Conv2D: windows.convolution,
    layers.SumPooling2D: windows.pool,
    layers.TDBN: weights.normalization,
}
WINDOWS = (
    windows.convolution,
    windows.pool,
    windows.pool_all,
    windows.zeros,
)


def to_nir(model, dt=1e-4, *, path=None, reset="zero", target=None):
    """Builds a graph of NIR from a model, and writes it to a file.

    The graph computes the same as the model in inference, one timestep after
    another. Normalization becomes part of the weights before it. Dropout and
    all that moves the time axis are left out.

    The graph starts behind the encoder: its inputs are spikes, or intensities
    under constant coding. It ends before a mean over time, so average its
    outputs. The weights after such a mean become part of the graph.

    Neurons fire above the threshold, as in NIR. Surrogates and what is learnt
    are not part of a graph.

    Args:
        model: A built functional or `Sequential` model.
        dt: Length of a timestep, above 0, in the unit of the time constants of
            the graph. See the package's docstring.
        path: File to write, or `None`. A file appears whole or not at all.
        reset: The reset of the neurons of the model. NIR only has `"zero"`.
            With `"subtract"`, a reader must know that it has to subtract the
            threshold. `from_nir` has an argument of this name.
        target: `"snntorch"`, `"spikingjelly"`, `"norse"` or `"sinabs"` for a
            graph that this simulator reads, or `None`. See `compatibility`.

    Returns:
        An `nir.NIRGraph`. Its nodes have the names of the layers. Recurrent
        neurons `a` become `a.lif` and `a.w_rec`.

    Raises:
        ImportError: If the package `nir` is not installed.
        ValueError: If NIR cannot express a layer, or the target cannot read it.

    Example:
    >>> inputs = keras.Input((None, 3))
    >>> spikes = layers.LIF(k=0.75, lam=0.5)(keras.layers.Dense(2)(inputs))
    >>> graph = to_nir(keras.Model(inputs, spikes), dt=0.5)
    >>> [type(node).__name__ for node in graph.nodes.values()]
    ['Input', 'Affine', 'LIF', 'Output']
    """
    nir = package()
    check_choice("target", target, (None, *TARGETS))
    writer = Writer(dt, reset)
    writer.write(model)
    if target is not None:
        adapt(writer.recipes, target, writer.dt, reset)
    graph = writer.recipes.graph()
    if path is not None:
        with replacing(path) as partial:
            nir.write(partial, graph)
    return graph


def compatibility(model):
    """Lists which simulators can read a model, and with which spikes.

    Args:
        model: See `to_nir`.

    Returns:
        A dictionary. It maps each `target` of `to_nir` to `"equal spikes"`, to
        `"approximate: ..."` with what differs, or to `"refused: ..."` with the
        error of `to_nir`.

    Raises:
        ImportError: If the package `nir` is not installed.
        ValueError: If `model` is not a functional or `Sequential` model.

    Example:
    >>> inputs = keras.Input((None, 3))
    >>> model = keras.Model(inputs, layers.LIF(k=1.0, name="a")(inputs))
    >>> found = compatibility(model)
    >>> found["norse"]
    'equal spikes'
    >>> found["snntorch"]
    "refused: snntorch cannot read IF nodes: it gives these neurons a leak. \
Received: node 'a'"
    """
    check_has_graph(model)
    found = {}
    for name, target in TARGETS.items():
        dt = 1e-4 if target.dt is None else target.dt
        try:
            to_nir(model, dt, reset=target.reset, target=name)
        except ValueError as error:
            found[name] = f"refused: {error}"
        else:
            found[name] = "equal spikes"
            if target.unlike:
                found[name] = f"approximate: {target.unlike}"
    return found


class Writer:
    """Writes the nodes of the layers of a model.

    Args:
        dt: See `to_nir`.
        reset: See `to_nir`.

    Attributes:
        recipes: The nodes.
        spikes: Pairs of an encoder or a layer of neurons, and the `Value` of
            its outputs.
    """

    def __init__(self, dt, reset):
        self.dt = check_number("dt", dt)
        self.reset = check_choice("reset", reset, RESETS)
        self.recipes, self.spikes = Recipes(), []
        self._values = {}  # by the identities of tensors
        self._tensors = []  # Keeps them alive, and so their identities.

    def write(self, model):
        """Writes the nodes of a model."""
        check_has_graph(model)
        for layer in operations(model):
            if makes_masks(layer):
                raise refusal(layer, "a graph has no masks")
        lead = 1 if takes_images(model) else 2
        inputs = [
            self._input(x, lead, "input" if len(model.inputs) == 1 else x.name)
            for x in model.inputs
        ]
        outputs = self._run(model, inputs)
        for n, value in enumerate(outputs):
            self._output(value, f"output_{n}" if outputs[1:] else "output")
        self.recipes.prune()

    def _input(self, tensor, lead, name):
        """Adds an input and returns its value."""
        *space, channels = tensor.shape[lead:]
        shape = channels, *space
        if None in shape:
            raise ValueError(
                "`model` must know the shape of its features. "
                f"Received: an input of shape {tuple(tensor.shape)}"
            )
        given = {"input": np.array(shape)}
        name = self.recipes.add(name, "Input", (), input_type=given)
        return Value((name,), channels_last(shape), shape)

    def _output(self, value, name):
        """Adds an output."""
        if value.where.ndim == 1:
            value = flattened(self.recipes, name, value)
        expected = channels_last(value.shape)
        if value.padding or not np.array_equal(value.where, expected):
            raise ValueError(
                "`model` must end with a vector, or with images in the order "
                "of axes of its layers. Received: an output of shape "
                f"{value.where.shape}, moved or flattened"
            )
        shape = {"output": np.array(value.shape)}
        self.recipes.add(name, "Output", value.sources, output_type=shape)

    def _run(self, model, values):
        """Writes a model, and returns the values of its outputs."""
        inputs = [keras.Input(x.shape[1:], dtype=x.dtype) for x in model.inputs]
        for tensor, value in zip(inputs, values, strict=True):
            self._keep(tensor, value)
        outputs = replay(model, inputs, self._call)
        return [self._values[id(x)] for x in outputs]

    def _keep(self, tensor, value):
        self._values[id(tensor)] = value
        self._tensors.append(tensor)

    def _call(self, layer, *args, **kwargs):
        """Writes a layer, and returns its symbolic outputs."""
        tensors = [x for x in tree.flatten((args, kwargs)) if is_symbolic(x)]
        values = [self._values[id(x)] for x in tensors]
        shape, rank = tuple(tensors[0].shape), values[0].where.ndim
        found = self._write(layer, values, shape[: len(shape) - rank])
        outputs = layer(*args, **kwargs)
        for tensor, value in zip(tree.flatten(outputs), found, strict=True):
            self._keep(tensor, value)
        return outputs

    def _write(self, layer, values, lead):
        """Writes a layer, and returns the values of its outputs.

        Args:
            layer: A layer, or an operation between layers.
            values: The values of its inputs.
            lead: Sizes of the axes before the features: batch, or also time.
        """
        layer = recomputed(layer)
        if has_graph(layer):
            return self._run(layer, values)
        if type(layer) in PER_TIMESTEP:
            return self._write(layer.layer, values, lead[:1])
        if is_sum(layer):
            return [added(layer, values)]
        if len(values) != 1:
            raise refusal(layer, "it has more than one input")
        (value,) = values
        write = STATELESS.get(type(layer))
        if value.padding and write not in WINDOWS:
            raise refusal(layer, "it comes after padding with zeros")
        if write is not None:
            return [write(self.recipes, layer, value, lead)]
        found = moved(self.recipes, layer, value, lead)
        if found is not None:
            return [found]
        found = encoded(self.recipes, layer, value, lead)
        if found is None:
            found = neurons(self.recipes, layer, value, self.dt, self.reset)
        self.spikes.append((layer, found))
        return [found]
