"""Functional models whose files load on every backend."""

import keras

from keras_snn.encoders import as_intensity

__all__ = ["ImageModel", "PortableModel"]


@keras.saving.register_keras_serializable(package="keras_snn")
class PortableModel(keras.Model):
    """A functional model whose compiled file loads on every backend.

    On PyTorch, Keras files its own optimizers under a module that imports
    torch. Without torch such a file does not load. Where torch comes with
    Triton, its LLVM and TensorFlow's abort the process.
    """

    def get_compile_config(self):
        """Returns Keras's config, with an optimizer that every backend has."""
        config = super().get_compile_config()
        optimizer = config.get("optimizer")
        while optimizer:
            if ".backend.torch." in (optimizer["module"] or ""):
                optimizer["module"] = "keras.optimizers"
                optimizer["registered_name"] = None
            optimizer = optimizer["config"].get("inner_optimizer")
        return config


@keras.saving.register_keras_serializable(package="keras_snn")
class ImageModel(PortableModel):
    """The class of files saved by version 0.1, which scaled images here.

    Builders now scale images in their first layer, so that every part of a
    model sees the same images.
    """

    def call(self, inputs, training=None, mask=None):
        """Scales the images, then runs the graph."""
        (images,) = keras.tree.flatten(inputs)
        return super().call(as_intensity(images), training, mask)
