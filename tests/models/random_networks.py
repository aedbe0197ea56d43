"""Random networks that can be taken apart in time, with exact numbers.

Weights are quarters and eighths, and the constants of neurons are powers of
two. All sums are exact in float32, so the order of addition does not matter.
"""

import keras
import numpy as np
from backend import to_numpy

from keras_snn import encoders, layers

EPSILON = 1 / 1024  # of all normalizations
RESETS = ("zero", "subtract", "none")
NEURONS = {
    "lif": layers.LIF,
    "cuba": lambda **kw: layers.CubaLIF(alpha=0.5, **kw),
    "adaptive": lambda **kw: layers.AdaptiveLIF(
        rho=0.5, coupling=0.5, jump=0.5, **kw
    ),
    "learnt": lambda **kw: layers.LIF(learn=("k", "lam", "theta"), **kw),
    "learnt cuba": lambda **kw: layers.CubaLIF(learn=("k", "alpha"), **kw),
    "recurrent": layers.RecurrentLIF,
    "recurrent cuba": layers.RecurrentCubaLIF,
    "recurrent adaptive": layers.RecurrentAdaptiveLIF,
}


class RandomNetwork:
    """A random functional model, and inputs for it.

    Attributes:
        model: The model.
        inputs: List of its inputs, NumPy arrays.
        still: Whether the inputs are images without a time axis.
        reduced: Which outputs have no time axis.
        used: Names of what the network is made of.
    """

    BATCH = 3

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.timesteps = int(self.pick((4, 8)))
        self.used, self.inputs, self.reduced = set(), [], []
        self.still = False
        start = self.named("series", "frames", "images", "two series")
        tensors, x = getattr(self, start.replace(" ", "_"))()
        for _ in range(self.rng.integers(1, 4)):
            x = self.block(x)
        outputs = [self.readout(x)]
        if self.rng.random() < 0.2:
            outputs.append(x)
            self.reduced.append(False)
        self.model = keras.Model(tensors, outputs)
        for weight in self.model.weights:
            self.set(weight)

    def pick(self, choices):
        return choices[self.rng.integers(len(choices))]

    def named(self, *names):
        name = self.pick(names)
        self.used.add(name)
        return name

    # Inputs

    def series(self):
        shape = self.BATCH, self.timesteps, 4
        self.inputs.append(self.rng.integers(-4, 9, shape) / 4)
        inputs = keras.Input(shape[1:])
        return [inputs], inputs

    def two_series(self):
        (a,), _ = self.series()
        (b,), _ = self.series()
        return [a, b], self.joined(a, b)

    def frames(self):
        shape = self.BATCH, self.timesteps, 4, 4, 2
        self.inputs.append(self.rng.integers(-2, 5, shape) / 4)
        inputs = keras.Input(shape[1:])
        return [inputs], inputs

    def images(self):
        self.still = True
        shape = self.BATCH, 4, 4, 2
        encoder = self.named("constant", "poisson", "repeat")
        # Black and white pixels have no noise.
        levels = 1 if encoder == "poisson" else 4
        self.inputs.append(self.rng.integers(0, levels + 1, shape) / levels)
        inputs = x = keras.Input(shape[1:])
        if encoder == "repeat":
            x = layers.FoldTime()(encoders.ConstantEncoder(1)(x))
            x = keras.layers.Conv2D(2, 3, padding="same")(x)
            x = keras.ops.expand_dims(x, 1)
            return [inputs], keras.ops.repeat(x, self.timesteps, axis=1)
        kind = {
            "constant": encoders.ConstantEncoder,
            "poisson": encoders.PoissonEncoder,
        }[encoder]
        return [inputs], kind(self.timesteps)(x)

    # Parts. Each maps a sequence to a sequence.

    def block(self, x, deeper=True):
        kinds = ["plain", "plain", "residual", "branches", "shared"]
        if deeper:
            kinds += ["nested", "nested twice", "recomputed"]
        return getattr(self, self.named(*kinds).replace(" ", "_"))(x)

    def plain(self, x):
        return self.neurons(self.normalized(self.synapses(x)))

    def residual(self, x):
        y = self.neurons(self.per_timestep(self.same_shape(x), x))
        return self.joined(x, y)

    def branches(self, x):
        paths = [self.neurons(self.same(x)) for _ in "ab"]
        return keras.layers.Concatenate()(paths)

    def shared(self, x):
        layer = layers.CubaLIF(k=0.5, lam=1.0)
        return self.joined(*(layer(self.same(x)) for _ in "ab"))

    def nested(self, x):
        return self.inner(x)(x)

    def nested_twice(self, x):
        inner = self.inner(x, self.residual)
        return inner(self.neurons(inner(x)))

    def recomputed(self, x):
        return layers.Recompute(self.inner(x))(x)

    def inner(self, x, block=None):
        inputs = keras.Input(x.shape[1:])
        make = block or (lambda y: self.block(y, deeper=False))
        return keras.Model(inputs, make(inputs))

    def joined(self, a, b):
        how = self.named("add", "plus", "maximum", "subtract", "average")
        if how == "plus":
            return a + b
        return getattr(keras.layers, how.capitalize())()([a, b])

    def same(self, x):
        return self.per_timestep(self.same_shape(x), x)

    def same_shape(self, x):
        """A layer of synapses that keeps the shape."""
        channels = x.shape[-1]
        if len(x.shape) == 3:
            return keras.layers.Dense(channels)
        return keras.layers.Conv2D(channels, 3, padding="same")

    def synapses(self, x):
        if len(x.shape) == 3:
            return self.per_timestep(keras.layers.Dense(self.pick((3, 5))), x)
        kind = self.named("convolution", "depthwise", "pool", "flatten")
        if kind == "flatten":
            x = self.per_timestep(keras.layers.Flatten(), x)
            return self.per_timestep(keras.layers.Dense(5), x)
        if kind == "pool" and x.shape[2] > 1:
            kinds = keras.layers.AveragePooling2D, keras.layers.MaxPooling2D
            x = self.per_timestep(self.pick(kinds)(2), x)
        if kind == "depthwise":
            layer = keras.layers.DepthwiseConv2D(3, padding="same")
        else:
            layer = keras.layers.Conv2D(self.pick((2, 3)), 3, padding="same")
        return self.per_timestep(layer, x)

    def per_timestep(self, layer, x):
        ways = ["wrapped", "wrapped model", "time distributed", "folded"]
        if isinstance(layer, keras.layers.Dense):
            ways.append("direct")
        way = self.named(*ways)
        if way == "direct":
            return layer(x)
        if way == "folded":
            y = layer(layers.FoldTime()(x))
            return layers.UnfoldTime(self.timesteps)(y)
        if way == "wrapped model":
            inputs = keras.Input(x.shape[2:])
            layer = keras.Model(inputs, layer(inputs))
        if way == "time distributed":
            return keras.layers.TimeDistributed(layer)(x)
        return layers.PerTimestep(layer)(x)

    def normalized(self, x):
        kind = self.named("none", "tdbn", "batch", "bntt", "dropout", "relu")
        options = {"epsilon": EPSILON}
        made = {
            "tdbn": lambda: layers.TDBN(1.0, **options),
            "batch": lambda: keras.layers.BatchNormalization(**options),
            "bntt": lambda: layers.BNTT(self.timesteps, **options),
            "dropout": lambda: keras.layers.Dropout(0.5),
            "relu": keras.layers.ReLU,
            "none": keras.layers.Identity,
        }
        return made[kind]()(x)

    def neurons(self, x):
        kinds = [
            n for n in NEURONS if len(x.shape) == 3 or "recurrent" not in n
        ]
        kind = self.named(*kinds)
        channels = x.shape[-1]
        options = {
            "k": 0.5,
            "lam": 1.0,
            "theta": 1.0,
            "reset": self.named(*RESETS),
        }
        if "learnt" not in kind and self.rng.random() < 0.3:
            self.used.add("per channel")
            name = self.pick(("k", "lam", "theta"))
            options[name] = self.rng.choice([0.5, 1.0], channels)
        if "recurrent" in kind:
            options |= {"units": channels, "recurrent_initializer": "ones"}
        return NEURONS[kind](**options)(x)

    # Outputs

    def readout(self, x):
        kind = self.named("spikes", "last", "mean", "integrator", "potential")
        self.reduced.append(kind in ("last", "mean", "potential"))
        if kind == "spikes":
            return x
        if kind == "last":
            x = layers.LIF(k=0.5, lam=1.0, return_sequences=False)(x)
            return keras.layers.Dense(2)(keras.layers.Flatten()(x))
        x = self.per_timestep(keras.layers.Flatten(), x)
        if kind == "mean":
            mean = keras.layers.GlobalAveragePooling1D()(x)
            return keras.layers.Dense(2)(mean)
        return layers.LeakyIntegrator(
            k=0.5, lam=0.5, return_sequences=kind == "integrator"
        )(keras.layers.Dense(2)(x))

    def set(self, weight):
        """Sets a weight to random exact numbers."""
        draw, shape = self.rng.integers, weight.shape
        if weight.name in ("kernel", "recurrent_kernel"):
            value = draw(-2, 4, shape) / 4
        elif weight.name in ("bias", "beta", "moving_mean"):
            value = draw(-2, 4, shape) / 8
        elif weight.name == "gamma":
            value = 2.0 ** draw(-1, 2, shape)
        elif weight.name == "moving_variance":
            value = 4.0 ** draw(-1, 2, shape) - EPSILON
        else:  # A learnt constant. Its logit or logarithm is 0.
            return
        weight.assign(value)

    def whole(self):
        """The outputs for the whole sequence, as a list."""
        found = self.model([x.astype("float32") for x in self.inputs])
        return [to_numpy(x) for x in keras.tree.flatten(found)]

    def steps(self):
        """The inputs of each timestep."""
        for t in range(self.timesteps):
            yield [
                (x if self.still else x[:, t]).astype("float32")
                for x in self.inputs
            ]
