"""What is measured: networks as data, from which every contender builds.

Shapes are channels last, as everywhere at the boundary; a contender that works
channels first turns weights and inputs round once, when it is built.
"""

import dataclasses
import math
from typing import NamedTuple


class Layer(NamedTuple):
    """One layer: its kind, and its filters, units or rate if it has them."""

    kind: str
    size: float = 0


LIF = Layer("lif")
NORM = Layer("norm")
POOL = Layer("pool")
FLATTEN = Layer("flatten")
MEAN = Layer("mean")  # over time; the linear layer behind it runs once


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


@dataclasses.dataclass(frozen=True)
class Workload:
    """A network and the step that is timed on it.

    Args:
        title: What it is, for the table.
        layers: The layers; a size of -1 stands for `--size`.
        input_shape: Shape of one image or timestep, likewise.
        batch: Default batch size.
        timesteps: Default lengths, one run each.
        size: Default of `--size`, or `None` where there is no such choice.
        trains: Whether the step is a whole training step on images (Poisson
            coding, cross-entropy, Adam) or forward and backward only.
        cpu: What replaces these defaults where there is no GPU.
    """

    title: str
    layers: tuple
    input_shape: tuple
    batch: int
    timesteps: tuple
    size: int | None = None
    trains: bool = True
    cpu: dict = dataclasses.field(default_factory=dict)


WORKLOADS = {
    "W0": Workload(
        "five-layer network, one training step",
        FIVE_LAYER,
        (28, 28, 1),
        batch=32,
        timesteps=(20,),
    ),
    "W1": Workload(
        "linear layer and neurons, forward and backward",
        (Layer("dense", -1), LIF),
        (-1,),
        batch=16,
        timesteps=(500,),
        size=4096,
        trains=False,
        cpu={"size": 1024},
    ),
    "W2": Workload(
        "neurons alone, forward and backward",
        (LIF,),
        (-1,),
        batch=64,
        timesteps=(4, 8, 16, 32),
        size=65536,
        trains=False,
        # 64 MB of currents.
        cpu={"batch": 32, "timesteps": (20,), "size": 25088},
    ),
    "W3": Workload(
        "convolutions with batch normalization, one training step",
        NORMALIZED,
        (64, 64, 3),
        batch=64,
        timesteps=(16,),
        cpu={"batch": 4},
    ),
    "W4": Workload(
        "VGG9, one training step",
        VGG9,
        (32, 32, 3),
        batch=32,
        timesteps=(20,),
        cpu={"batch": 2},
    ),
}

# The contenders of each workload that are not another library.
KINDS = ("keras_snn", "relu", "rnn", "copy")


def kinds(workload):
    """The kinds of contender that a workload has."""
    return KINDS if workload == "W2" else KINDS[:-1]


@dataclasses.dataclass(frozen=True)
class Case:
    """One run of a workload, with every choice made; travels as JSON."""

    workload: str
    layers: tuple
    input_shape: tuple
    batch: int
    timesteps: int
    trains: bool
    dtype: str = "float32"
    tf32: bool = False

    @classmethod
    def from_json(cls, fields):
        """The case whose fields came back as JSON's lists."""
        layers = tuple(Layer(*layer) for layer in fields["layers"])
        shape = tuple(fields["input_shape"])
        return cls(**fields | {"layers": layers, "input_shape": shape})

    def to_json(self):
        """The fields, as plain Python objects."""
        return dataclasses.asdict(self)

    @property
    def image(self):
        """Whether the input has height, width and channels."""
        return len(self.input_shape) == 3

    @property
    def learns(self):
        """Whether there are weights to take the gradient at."""
        return any(x.kind in ("conv", "dense") for x in self.layers)


def make_case(name, size=None, **choices):
    """The case of a workload.

    Args:
        name: `"W0"` to `"W4"`.
        size: Number of neurons of W1 and W2.
        **choices: The other fields of `Case`.

    Returns:
        A `Case`.
    """
    workload = WORKLOADS[name]

    def sized(number):
        return size if number == -1 else number

    return Case(
        workload=name,
        layers=tuple(Layer(x.kind, sized(x.size)) for x in workload.layers),
        input_shape=tuple(map(sized, workload.input_shape)),
        trains=workload.trains,
        **choices,
    )


def traced(layers, shape):
    """Yields every layer with the shape of one timestep of its input."""
    for layer in layers:
        yield layer, shape
        if layer.kind == "conv":
            shape = (*shape[:2], layer.size)
        elif layer.kind == "pool":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif layer.kind == "flatten":
            shape = (math.prod(shape),)
        elif layer.kind == "dense":
            shape = (layer.size,)


def output_shape(case):
    """Shape of what the network returns, without the batch."""
    *_, (last, shape) = traced((*case.layers, Layer("end")), case.input_shape)
    return shape if MEAN in case.layers else (case.timesteps, *shape)
