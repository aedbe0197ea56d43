"""Functional models whose files load on every backend."""

import contextlib

import keras

from keras_snn.encoders import PoissonEncoder, as_intensity
from keras_snn.layers import unrolled
from keras_snn.layers.walk import walk

__all__ = ["ImageModel", "PortableModel"]


@keras.saving.register_keras_serializable(package="keras_snn")
class PortableModel(keras.Model):
    """A functional model whose compiled file loads on every backend.

    On PyTorch, Keras records its own optimizers under a module that imports
    torch. Without torch, such a file does not load. If torch comes with Triton,
    loading the file on TensorFlow aborts the process, because both bring their
    own LLVM.
    """

    def get_compile_config(self):
        """Returns Keras's config, with an optimizer for every backend."""
        config = super().get_compile_config()
        optimizer = config.get("optimizer")
        while optimizer:
            if ".backend.torch." in (optimizer["module"] or ""):
                optimizer["module"] = "keras.optimizers"
                optimizer["registered_name"] = None
            optimizer = optimizer["config"].get("inner_optimizer")
        return config

    def export(
        self,
        filepath,
        format="tf_saved_model",
        verbose=None,
        input_signature=None,
        **kwargs,
    ):
        """Exports the model for inference, see `keras.Model.export`.

        It unrolls the neurons over time, except for SavedModel and LiteRT,
        because other converters cannot read their compiled loops. See
        `keras_snn.layers.unrolled`.

        Args:
            filepath: Path of the file or folder.
            format: See `keras.Model.export`.
            verbose: Whether to print a message.
            input_signature: Shapes and dtypes of the inputs. The default is
                those of the model.
            **kwargs: See `keras.Model.export`.

        Raises:
            ValueError: If the format cannot express the model: random numbers
                in ONNX and LiteRT, carried states or an unknown number of
                timesteps in ONNX.
        """
        if format in ("onnx", "litert"):
            _refuse_noise(self, format)
        if input_signature is None:
            # Keras looks for it only in models that have been called.
            input_signature = [self.input]
        loops = format in ("tf_saved_model", "litert")
        with contextlib.nullcontext() if loops else unrolled(self):
            super().export(filepath, format, verbose, input_signature, **kwargs)


def _refuse_noise(model, format):
    """Raises an error if a model draws random numbers in inference."""
    for layer in walk(model):
        if isinstance(layer, PoissonEncoder):
            raise ValueError(
                f"`{layer.name}` draws random numbers, which the format cannot "
                "express. Build the network with `encoder=None`, give it the "
                "weights, and encode the images before it. Received: "
                f"format={format!r}"
            )


@keras.saving.register_keras_serializable(package="keras_snn")
class ImageModel(PortableModel):
    """The class of models saved by version 0.1, which scaled images here.

    Builders now scale images in the first layer, so every sub-model sees the
    same images.
    """

    def call(self, inputs, training=None, mask=None):
        """Scales the images, then runs the graph."""
        (images,) = keras.tree.flatten(inputs)
        return super().call(as_intensity(images), training, mask)
