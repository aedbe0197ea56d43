"""Time folded into the batch, for layers without a state.

Convolutions and dense layers treat every timestep alike, so one call on
`batch * timesteps` samples replaces `timesteps` calls.
"""

import functools
import inspect
import re
import warnings

import keras
from keras import ops, tree

from keras_snn.layers.walk import walk
from keras_snn.validation import check_count, check_shape, check_time_axis

__all__ = ["FoldTime", "PerTimestep", "UnfoldTime"]

# Layers whose mask selects positions inside a sample. A masked timestep would
# leave them no position at all.
_WITHIN_SAMPLES = (keras.layers.GlobalAveragePooling1D, keras.layers.Softmax)


def _fold(inputs):
    batch, timesteps, *features = ops.shape(inputs)
    return ops.reshape(inputs, (batch * timesteps, *features))


def _unfold(inputs, timesteps):
    samples, *features = ops.shape(inputs)
    return ops.reshape(inputs, (samples // timesteps, timesteps, *features))


@keras.saving.register_keras_serializable(package="keras_snn")
class PerTimestep(keras.layers.Wrapper):
    """Applies a layer to every timestep at once.

    It computes the same as `keras.layers.TimeDistributed`, in a single call of
    the layer. For several layers in a row, use `FoldTime` and `UnfoldTime`.

    The layer gets the mask if its `call` takes one, so batch normalization does
    not count padding. As Keras's layers expect, this mask has the shape of the
    inputs without the last axis. `keras.layers.Softmax` and
    `GlobalAveragePooling1D` get none, because their masks select positions
    inside a sample. A model gets the mask if a layer inside it takes one. Keras
    warns if a convolution inside the model drops it.

    Args:
        layer: Any `keras.layers.Layer` that does not need the time axis.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch, timesteps, ...)`, or a list or dictionary of such
            tensors if the layer accepts one.
        mask: Booleans `(batch, timesteps)`, or one such mask or `None` for each
            of the inputs. A timestep counts where all masks are true. This
            joint mask goes to the layer and on to the next layer.

    Returns:
        `(batch, timesteps, ...)`, the layer's output for every timestep. It has
        the structure of the layer's output.

    Raises:
        ValueError: If the layer, or one inside it, needs the time axis; or, in
            calls, if inputs differ in their timesteps or a mask does not fit.

    Example:
    >>> tuple(PerTimestep(keras.layers.Dense(3))(ops.ones((2, 5, 4))).shape)
    (2, 5, 3)
    """

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        for inside in walk(layer):
            recurrent = isinstance(inside, keras.layers.RNN)
            if recurrent or getattr(inside, "needs_time_axis", False):
                raise ValueError(
                    "`layer` must not need the time axis, which `PerTimestep` "
                    f"folds into the batch. Received: {inside.name!r} of class "
                    f"{type(inside).__name__}"
                )
        self.supports_masking = True
        self.autocast = False  # The inner layer casts to its own dtype.

    def build(self, input_shape):
        """Builds the layer for one timestep."""
        inputs = tree.map_shape_structure(keras.KerasTensor, input_shape)
        self._check(inputs)
        if not self.layer.built:
            steps = tree.map_shape_structure(_without_time, input_shape)
            self.layer.build(steps)
        self.built = True

    def call(self, inputs, mask=None):
        """Folds time into the batch, applies the layer, and unfolds time."""
        timesteps = self._check(inputs)
        mask = _joined(mask)
        if mask is None:
            outputs = self.layer(tree.map_structure(_fold, inputs))
        else:
            outputs = self._call_masked(inputs, mask)
        return tree.map_structure(lambda x: _unfold(x, timesteps), outputs)

    def _call_masked(self, inputs, mask):
        """Applies the layer to folded inputs, with a folded mask."""
        for x in tree.flatten(inputs):
            check_shape("mask", mask, x.shape[:2])
        options = {}
        if _takes_mask(self.layer):
            options["mask"] = tree.map_structure(
                lambda x: _folded_mask(mask, x), inputs
            )
        with warnings.catch_warnings():
            # Keras warns that a model drops its mask. This layer passes it on.
            name = re.escape(self.layer.name)
            warnings.filterwarnings("ignore", f"Layer '{name}' .* mask")
            return self.layer(tree.map_structure(_fold, inputs), **options)

    def _check(self, inputs):
        """Returns the number of timesteps if all inputs agree on it."""
        first, *others = tree.flatten(inputs)
        check_time_axis(self, first.shape)
        for x in others:
            check_time_axis(self, x.shape)
            check_shape("inputs", x, (*first.shape[:2], *x.shape[2:]))
        return ops.shape(first)[1]

    def compute_mask(self, inputs, mask):
        """Returns the joint mask, once for each output."""
        mask = _joined(mask)
        if mask is None:
            return None
        outputs = self.compute_output_spec(inputs)
        return tree.map_structure(lambda _: mask, outputs)

    def compute_output_shape(self, input_shape):
        """Returns `(batch, timesteps, ...)` with the layer's output shape."""
        inputs = tree.map_shape_structure(keras.KerasTensor, input_shape)
        outputs = self.compute_output_spec(inputs)
        return tree.map_structure(lambda x: x.shape, outputs)

    def compute_output_spec(self, inputs, mask=None):
        """Returns shapes and dtypes of the outputs."""
        del mask
        self._check(inputs)
        batch, timesteps = tree.flatten(inputs)[0].shape[:2]
        step = tree.map_structure(
            lambda x: keras.KerasTensor(_without_time(x.shape), x.dtype), inputs
        )
        return tree.map_structure(
            lambda x: keras.KerasTensor(
                (batch, timesteps, *x.shape[1:]), x.dtype
            ),
            self.layer.compute_output_spec(step),
        )


def _without_time(shape):
    return (None, *shape[2:])


def _takes_mask(layer):
    def takes(layer):
        return "mask" in inspect.signature(layer.call).parameters

    return takes(layer) and any(
        takes(inside)
        for inside in walk(layer)
        if not isinstance(inside, (keras.Model, *_WITHIN_SAMPLES))
    )


def _joined(masks):
    """Returns where all masks are true, or `None` if there is none."""
    masks = [ops.cast(x, "bool") for x in tree.flatten(masks) if x is not None]
    return functools.reduce(ops.logical_and, masks) if masks else None


def _folded_mask(mask, inputs):
    """Returns the mask in the shape of the folded inputs but their last axis.

    Args:
        mask: `(batch, timesteps)`.
        inputs: `(batch, timesteps, ...)`.
    """
    batch, timesteps, *features = ops.shape(inputs)
    samples = batch * timesteps
    mask = ops.reshape(mask, (samples, *[1] * (len(features) - 1)))
    return ops.broadcast_to(mask, (samples, *features[:-1]))


@keras.saving.register_keras_serializable(package="keras_snn")
class FoldTime(keras.layers.Layer):
    """Folds the time axis into the batch axis, without a copy.

    It drops masks. `PerTimestep` passes them on.

    Call arguments:
        inputs: `(batch, timesteps, ...)`.

    Returns:
        `(batch * timesteps, ...)`.

    Example:
    >>> tuple(FoldTime()(ops.ones((2, 5, 4))).shape)
    (10, 4)
    """

    needs_time_axis = True

    def call(self, inputs):
        """Reshapes the inputs."""
        check_time_axis(self, inputs.shape)
        return _fold(inputs)

    def compute_output_shape(self, input_shape):
        """Returns the shape without the time axis."""
        check_time_axis(self, input_shape)
        batch, timesteps, *features = input_shape
        known = None not in (batch, timesteps)
        return (batch * timesteps if known else None, *features)


@keras.saving.register_keras_serializable(package="keras_snn")
class UnfoldTime(keras.layers.Layer):
    """Reverses `FoldTime`: restores the time axis, without a copy.

    Args:
        timesteps: Length of the time axis, at least 1. It must divide the
            batch.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch * timesteps, ...)`.

    Returns:
        `(batch, timesteps, ...)`.

    Example:
    >>> tuple(UnfoldTime(5)(ops.ones((10, 4))).shape)
    (2, 5, 4)
    """

    needs_time_axis = True

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        self.timesteps = check_count("timesteps", timesteps)

    def call(self, inputs):
        """Reshapes the inputs."""
        samples = inputs.shape[0]
        if samples is not None and samples % self.timesteps:
            raise ValueError(
                "`inputs` must have a batch that `timesteps` divides. "
                f"Received: batch {samples}, timesteps={self.timesteps}"
            )
        return _unfold(inputs, self.timesteps)

    def compute_output_shape(self, input_shape):
        """Returns the shape with `timesteps` after the batch axis."""
        samples, *features = input_shape
        batch = samples and samples // self.timesteps
        return (batch, self.timesteps, *features)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}
