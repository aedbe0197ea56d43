"""Functional models whose files load on every backend."""

import keras

from keras_snn.encoders import as_intensity

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
