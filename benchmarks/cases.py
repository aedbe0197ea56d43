"""The networks to measure, described as data.

Every contender builds its own network from this description. Shapes are
channels last.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["CASES", "Case", "Layer", "make"]


class Layer(NamedTuple):
    """A layer: its kind, and its number of filters or units, or its rate."""

    kind: str
    size: float = 0


LIF = Layer("lif")
NORM = Layer("norm")
POOL = Layer("pool")
FLATTEN = Layer("flatten")
MEAN = Layer("mean")  # over time; the linear layer after it runs once


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, the shape of its input, and the step that is timed.

    Args:
        name: Short name, `"W0"`.
        title: Description for the tables.
        layers: The `Layer`s.
        input_shape: Shape of one image or of one timestep.
        batch: Batch size.
        timesteps: Number of timesteps.
        trains: `True` times a training step on images: Poisson coding,
            cross-entropy, Adam. `False` times a forward and a backward pass.
        dtype: Keras dtype policy.
        builder: The function of `keras_snn.models` that builds this network, if
            there is one.
    """

    name: str
    title: str
    layers: tuple[Layer, ...]
    input_shape: tuple[int, ...]
    batch: int
    timesteps: int
    trains: bool = True
    dtype: str = "float32"
    builder: str | None = None

    @property
    def key(self) -> str:
        """Identifies the case among stored results."""
        return (
            f"{self.name}, batch {self.batch}, {self.timesteps} timesteps, "
            f"{self.dtype}"
        )

    @property
    def imports(self) -> bool:
        """Whether to time the imports as well, once per machine."""
        return self.name == "W0"

    @property
    def image(self) -> bool:
        """Whether the input has height, width and channels."""
        return len(self.input_shape) == 3

    @property
    def learns(self) -> bool:
        """Whether the network has weights."""
        return any(x.kind in ("conv", "dense") for x in self.layers)

    @property
    def timed(self) -> int:
        """The number of layers that run at every timestep."""
        layers = self.layers
        return layers.index(MEAN) if MEAN in layers else len(layers)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the network's output, without the batch."""
        *_, shape = self._shapes()
        return shape if MEAN in self.layers else (self.timesteps, *shape)

    def trace(self) -> Iterator[tuple[Layer, tuple[int, ...]]]:
        """Yields every layer with the shape of one timestep of its input."""
        return zip(self.layers, self._shapes(), strict=False)

    def _shapes(self) -> Iterator[tuple[int, ...]]:
        yield (shape := self.input_shape)
        for layer in self.layers:
            if layer.kind == "conv":
                shape = (*shape[:2], layer.size)
            elif layer.kind == "pool":
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            elif layer.kind == "flatten":
                shape = (math.prod(shape),)
            elif layer.kind == "dense":
                shape = (layer.size,)
            yield shape


def _conv(filters, *between):
    return (Layer("conv", filters), *between, LIF)


def _dense(units):
    return (Layer("dense", units), LIF)


FIVE_LAYER = (
    *(*_conv(32), POOL, *_conv(32), POOL, FLATTEN),
    *(*_dense(500), *_dense(100), MEAN, Layer("dense", 10)),
)
NORMALIZED = (
    *(*_conv(64, NORM), POOL, *_conv(128, NORM), POOL, FLATTEN),
    *(*_dense(1024), MEAN, Layer("dense", 10)),
)
VGG9 = (
    *(*_conv(128), *_conv(128), POOL, *_conv(256), *_conv(256), POOL),
    *(*_conv(256), *_conv(256), *_conv(256), POOL, FLATTEN),
    *(*_dense(1024), Layer("dropout", 0.5), MEAN, Layer("dense", 10)),
)
TITLES = {
    "W0": "`five_layer_snn`, one training step",
    "W1": "linear layer and neurons, forward and backward",
    "W2": "neurons alone, forward and backward",
    "W3": "convolutions with batch normalization, one training step",
    "W4": "`vgg9_snn`, one training step",
    "W5": "other neurons, forward and backward; `keras_snn` is `LIF`",
}
BUILDERS = {"W0": "five_layer_snn", "W4": "vgg9_snn"}
# Sizes for a GPU.
CASES = {
    name: Case(name, TITLES[name], *fields, builder=BUILDERS.get(name))
    for name, fields in {
        "W0": (FIVE_LAYER, (28, 28, 1), 32, 20),
        "W1": (_dense(4096), (4096,), 16, 500, False),
        "W2": ((LIF,), (65536,), 64, 16, False),
        "W3": (NORMALIZED, (64, 64, 3), 64, 16),
        "W4": (VGG9, (32, 32, 3), 32, 20),
        "W5": ((LIF,), (1024,), 256, 100, False),
    }.items()
}
# Sizes for a CPU, where they differ.
ON_CPU = {
    "W0": {},
    "W1": {"layers": _dense(1024), "input_shape": (1024,)},
    # 64 MB of currents.
    "W2": {"input_shape": (25088,), "batch": 32, "timesteps": 20},
    "W3": {"batch": 4},
    "W4": {"batch": 2},
    "W5": {"input_shape": (256,), "batch": 32},
}


def make(name: str, on_gpu: bool, **changes: Any) -> Case:
    """Returns a case with the size for this machine.

    Args:
        name: `"W0"` to `"W5"`.
        on_gpu: Whether to use the size for a GPU.
        **changes: Fields of `Case` to replace. `None` keeps the default.
    """
    chosen = {key: x for key, x in changes.items() if x is not None}
    defaults = {} if on_gpu else ON_CPU[name]
    return dataclasses.replace(CASES[name], **defaults | chosen)
