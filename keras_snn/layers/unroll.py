"""Neurons unrolled over time, for export formats without loops."""

import contextlib
from collections.abc import Iterator

import keras

from keras_snn.layers.over_time import OverTime
from keras_snn.layers.walk import walk

__all__ = ["unrolled"]


@contextlib.contextmanager
def unrolled(model: keras.layers.Layer) -> Iterator[None]:
    """Unrolls the layers of neurons in a model, within a `with` block.

    Neurons then compute the same by plain operations, one timestep after
    another, instead of a compiled loop. Converters to ONNX need that. An `RNN`
    of a cell stays as it is. `export` of the models of `keras_snn` does it by
    itself; use this for models of your own. The number of timesteps must be
    fixed.

    Args:
        model: Any model or layer. Layers of neurons inside it are unrolled, at
            any depth.

    Raises:
        TypeError: If `model` is not a model or layer.

    Example:
    >>> from keras_snn.layers import LIF
    >>> model = keras.Sequential([keras.Input((4, 1)), LIF(lam=1.0)])
    >>> with unrolled(model):  # Here, `model.export` would go.
    ...     spikes = model(2.0 * keras.ops.ones((1, 4, 1)))
    >>> keras.ops.convert_to_numpy(spikes).ravel().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(
            f"`model` must be a Keras model or layer. Received: model={model!r}"
        )
    neurons = [x for x in walk(model) if isinstance(x, OverTime)]
    before = [x.unroll for x in neurons]
    try:
        for layer in neurons:
            layer.unroll = True
        yield
    finally:
        for layer, value in zip(neurons, before, strict=True):
            layer.unroll = value
