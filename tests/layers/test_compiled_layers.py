"""Layers of neurons under compilers and on several devices."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_snn.layers import LIF, LeakyIntegrator, PerTimestep, RecurrentLIF

NEURON = {"k": 0.5, "lam": 0.5, "theta": 1.0}


@pytest.fixture
def current(rng):
    """Sixteenths, exact in float32 through six halvings."""
    return (rng.integers(-16, 49, size=(4, 6, 3)) / 16).astype("float32")


# What Keras and PyTorch's compiler say of each other.
compiling = pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning", "ignore:Dynamo detected a call"
)


@compiling
@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("run_eagerly", [True, False])
def test_training_modes_take_the_same_step(current, jit_compile, run_eagerly):
    if run_eagerly and jit_compile:
        pytest.skip("Keras refuses the combination")
    if keras.config.backend() == "torch" and jit_compile:
        needs_a_compiler()

    def trained(**kwargs):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6, 3))
        x = PerTimestep(keras.layers.Dense(8))(inputs)
        x = LIF(**NEURON)(4 * x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile("sgd", "mse", **kwargs)
        model.fit(current, np.ones((4, 6, 1)), epochs=2, verbose=0)
        return model.get_weights()

    ours = trained(jit_compile=jit_compile, run_eagerly=run_eagerly)
    for a, b in zip(ours, trained(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's graph"
)
def test_only_the_neurons_are_compiled_by_xla():
    import tensorflow as tf

    inputs = keras.Input((6, 8, 8, 1))
    x = PerTimestep(keras.layers.Conv2D(2, 3))(inputs)
    model = keras.Model(inputs, LIF(**NEURON)(x))
    spec = tf.TensorSpec((4, 6, 8, 8, 1), "float32")
    graph = tf.function(model).get_concrete_function(spec).graph
    # Whatever is at the top is TensorFlow's own, on oneDNN or cuDNN.
    assert "Conv2D" in {op.type for op in graph.get_operations()}
    functions = graph.as_graph_def().library.function
    compiled = [f for f in functions if f.attr["_XlaMustCompile"].b]
    assert compiled
    for function in compiled:
        assert not [n for n in function.node_def if "Conv" in n.op]


# Devices can be set up only before a backend has started: two processes.
TRAINED = """
import contextlib
import keras
import numpy as np
from keras_snn.layers import LIF, PerTimestep


def trained(scope=contextlib.nullcontext()):
    keras.utils.set_random_seed(0)
    with scope:
        inputs = keras.Input((6, 3))
        x = PerTimestep(keras.layers.Dense(8))(inputs)
        x = LIF(0.5, 0.5, 1.0)(4 * x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile("sgd", "mse")
    x = np.random.default_rng(0).random((8, 6, 3)).astype("float32")
    before = model.get_weights()
    model.fit(x, x[..., :1], epochs=2, verbose=0)
    return before, model.get_weights()
"""
ON_TWO = {
    "tensorflow": """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
before, one = trained()
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert both.num_replicas_in_sync == 2
_, two = trained(both.scope())
""",
    "jax": """
before, one = trained()
devices = keras.distribution.list_devices()
assert len(devices) == 2
parallel = keras.distribution.DataParallel(devices=devices)
keras.distribution.set_distribution(parallel)
_, two = trained()
""",
}
SAME = """
for a, b, c in zip(two, one, before, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert abs(b - c).max() > 1e-4
"""


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() not in ON_TWO,
    reason="Keras distributes on TensorFlow and JAX",
)
def test_two_devices_take_the_step_of_one():
    code = TRAINED + ON_TWO[keras.config.backend()] + SAME
    flags = "--xla_force_host_platform_device_count=2"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"XLA_FLAGS": flags},
    )


@compiling
@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's compiler"
)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_torch_compile_breaks_nothing_and_changes_no_spike(current, masked):
    import torch

    needs_a_compiler()
    layer = LIF(k=0.8, lam=0.7, theta=1.0, return_state=True)
    layer.build(current.shape)
    mask = torch.arange(6).expand(4, 6) != 2 if masked else None

    def step(layer):
        x = torch.tensor(current, requires_grad=True)
        spikes, potential = layer(x, mask=mask)
        (spikes * x.detach()).sum().backward()
        return [t.detach().numpy() for t in (spikes, potential, x.grad)]

    # `fullgraph` refuses to run anything outside the compiled graph.
    compiled = step(torch.compile(layer, fullgraph=True))
    eager = step(layer)
    assert 0 < eager[0].mean() < 1
    for ours, theirs in zip(compiled, eager, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def needs_a_compiler():
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("PyTorch compiles with a C++ compiler, of which is none")


class Stack(keras.Model):
    """Layers of several widths, built when they are called."""

    def __init__(self, neurons):
        super().__init__()
        self.stack = [
            x
            for units in (20, 30, 40)
            for x in (keras.layers.Dense(units), neurons(units))
        ]
        self.stack += [
            keras.layers.LayerNormalization(),
            keras.layers.Dense(10),
        ]

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


@pytest.mark.parametrize(
    "neurons",
    [
        pytest.param(lambda _: LIF(), id="LIF"),
        pytest.param(lambda _: LIF(learn=("k",)), id="learnt"),
        pytest.param(lambda _: LeakyIntegrator(), id="LeakyIntegrator"),
        RecurrentLIF,
    ],
)
def test_layers_of_several_widths_train_in_a_subclassed_model(neurons):
    # A loop that serves several shapes must not lose those of its outputs.
    model = Stack(neurons)
    model.compile("adam", "mse")
    model.fit(np.ones((8, 6, 5)), np.zeros((8, 6, 10)), verbose=0)
    assert model.predict(np.ones((2, 6, 5)), verbose=0).shape == (2, 6, 10)
