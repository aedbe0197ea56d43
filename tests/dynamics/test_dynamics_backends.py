"""What only some backends have: precisions, memory layouts, traces."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import reference
from backend import gradients
from drive import exact_current, lif, run

from keras_snn import dynamics, surrogates


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="only PyTorch runs block by block"
)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_small_blocks_change_nothing(rng, masked, monkeypatch):
    from keras_snn.dynamics import torch_adjoint, torch_loop

    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
    current = exact_current(rng, (3, 8, 5))
    start = exact_current(rng, (3, 5))
    mask = keras.ops.convert_to_tensor(rng.random((3, 8)) < 0.7)
    arguments = neuron, current, start, mask if masked else None

    def both():
        function = lambda i, v: lif(neuron, i, v, arguments[3])  # noqa: E731
        found = gradients(function, [current, start], [current, start])
        return [*run(lif, *arguments), *found]

    expected = both()
    # A block of two columns of one sample.
    monkeypatch.setattr(torch_loop, "FORWARD_BLOCK", 16)
    monkeypatch.setattr(torch_adjoint, "BACKWARD_BLOCK", 16)
    for ours, theirs in zip(both(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("double_precision")
def test_double_precision_leaks_by_all_its_digits(rng):
    neuron = dynamics.Neuron(0.8, 0.3, 1.0, "arctan")
    current = rng.normal(1, 3, size=(2, 9, 3))
    start = np.zeros((2, 3))
    weights = [rng.normal(size=(2, 9, 3)), rng.normal(size=(2, 3))]

    gradient, _ = gradients(
        functools.partial(lif, neuron), [current, start], weights
    )
    expected = reference.gradient(
        current,
        *weights,
        lambda x: reference.DERIVATIVE["arctan"](x, 2.0),
        *(0.8, 0.3, 1.0, "zero", False),
    )
    assert gradient.dtype == "float64"
    error = np.linalg.norm(gradient - expected)
    assert error < 1e-13 * np.linalg.norm(expected)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's order in memory"
)
def test_transposed_arrays_are_taken_as_they_are_read(rng):
    import torch

    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
    current = exact_current(rng, (5, 8, 3))
    plain = torch.tensor(current.transpose(2, 1, 0).copy(), requires_grad=True)
    turned = torch.tensor(current).permute(2, 1, 0).requires_grad_()
    assert not turned.is_contiguous()
    start = torch.zeros(5, 3).T
    found = []
    for x in (plain, turned):
        spikes, final = lif(neuron, x, start)
        assert spikes.is_contiguous()
        # An expanded gradient comes back from a sum.
        (spikes.sum() + final.sum()).backward()
        found.append((spikes.detach(), final.detach(), x.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch keeps graphs if asked"
)
def test_a_graph_that_is_kept_gives_the_same_gradient_again(rng):
    import torch

    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
    current = torch.tensor(exact_current(rng, (3, 8, 5)), requires_grad=True)
    spikes, _ = lif(neuron, current, torch.zeros(3, 5))
    total = (spikes * current.detach()).sum()
    (first,) = torch.autograd.grad(total, current, retain_graph=True)
    (second,) = torch.autograd.grad(total, current, retain_graph=True)
    (last,) = torch.autograd.grad(total, current)
    assert first.abs().max() > 0
    assert torch.equal(first, second)
    assert torch.equal(first, last)


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="PyTorch traces nothing"
)
def test_neurons_of_one_kind_share_a_program(rng):
    def compiled():
        if keras.config.backend() == "jax":
            from keras_snn.dynamics import jax

            return jax._jitted._cache_size()
        from keras_snn.dynamics import tensorflow

        kind, *_ = neuron.system().flatten()
        loop, compiled = tensorflow.loop, tensorflow._compiled
        traced = (
            compiled(loop.forward, kind, (0, 0, 0), learns=False),
            compiled(loop.backward, kind, (0, 0, 0)),
        )
        return [x.experimental_get_tracing_count() for x in traced]

    current = exact_current(rng, (2, 5, 3))
    counts = []
    for k, lam, theta, a in (
        (0.5, 0.5, 1.0, 1.0),
        (0.25, 0.5, 1.25, 1.5),
        (1.0, 0.25, 0.5, 0.75),
        (0.5, 0.5, 1.0, 1.0),
    ):
        neuron = dynamics.Neuron(k, lam, theta, surrogates.Tanh(a))
        spikes, _ = run(lif, neuron, current)
        expected, _ = reference.lif(current, k, lam, theta)
        np.testing.assert_array_equal(spikes, expected)
        gradient, _ = gradients(
            lambda i, v, neuron=neuron: lif(neuron, i, v),
            [current, np.zeros((2, 3), "float32")],
            [current, np.zeros((2, 3), "float32")],
        )
        expected = reference.gradient(
            *(current, current, np.zeros((2, 3))),
            lambda x, a=a: reference.DERIVATIVE["tanh"](x, a),
            *(k, lam, theta, "zero", False),
        )
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
        counts.append(compiled())
    assert counts == [counts[0]] * 4


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class Window(surrogates.Surrogate):
    """A surrogate of a user: a constant slope within a width."""

    width: float

    def smooth(self, distance):
        raise NotImplementedError

    def derivative(self, distance):
        near = keras.ops.abs(distance) < self.width
        return 3.0 * keras.ops.cast(near, distance.dtype)


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class Scaled(surrogates.HardTanh):
    """A user's variant of a surrogate that has shared programs."""

    scale: float = 1.0

    def derivative(self, distance):
        near = keras.ops.abs(distance) < 1 / self.a
        return self.scale * keras.ops.cast(near, distance.dtype)


@pytest.mark.parametrize(
    ("surrogate", "height", "width"),
    [
        (Window(0.25), 3.0, 0.25),
        (Window(4.0), 3.0, 4.0),
        (Scaled(4.0, 2.0), 2.0, 0.25),
        (Scaled(0.25, 3.0), 3.0, 4.0),
    ],
    ids=str,
)
def test_surrogates_of_the_user_keep_their_fields(
    rng, surrogate, height, width
):
    neuron = dynamics.Neuron(0.5, 0.5, 1.0, surrogate)
    current = exact_current(rng, (2, 5, 3))
    zeros = np.zeros((2, 3), "float32")
    gradient, _ = gradients(
        lambda i, v: lif(neuron, i, v),
        [current, zeros],
        [current, zeros],
    )
    expected = reference.gradient(
        *(current, current, zeros),
        lambda x: height * (np.abs(x) < width),
        *(0.5, 0.5, 1.0, "zero", False),
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="vmap and jit are JAX's"
)
def test_jax_transformations_change_nothing(rng):
    import jax

    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
    current = exact_current(rng, (4, 2, 6, 3))
    potential = np.zeros((2, 3), "float32")

    def total(current):
        spikes, final = lif(neuron, current, potential)
        return (spikes * current).sum() + final.sum()

    one_by_one = np.stack([jax.grad(total)(x) for x in current])
    at_once = jax.jit(jax.vmap(jax.grad(total)))(current)
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-6)


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="kernels that JAX calls"
)
@pytest.mark.parametrize(
    ("installed", "devices", "reason"),
    [
        (["triton"], 1, "jax_triton is not installed"),
        (["jax_triton"], 1, "triton is not installed"),
        (["triton", "jax_triton"], 2, "JAX sees 2 devices"),
    ],
)
def test_a_gpu_without_kernels_is_reported(
    installed, devices, reason, monkeypatch
):
    import jax

    from keras_snn.dynamics import jax as fused

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    monkeypatch.setattr(
        fused.importlib.util,
        "find_spec",
        lambda name: name if name in installed else None,
    )
    with pytest.warns(UserWarning, match=f"^{reason}.*: .* which is slow"):
        assert fused._gpu_module.__wrapped__() is None


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="tf.function is TensorFlow's"
)
def test_inside_a_function_of_dynamic_shape(rng, jit_compile):
    import tensorflow as tf

    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
    spec = tf.TensorSpec((None, None, 3), "float32")

    @tf.function(input_signature=[spec], jit_compile=jit_compile)
    def gradient(current):
        with tf.GradientTape() as tape:
            tape.watch(current)
            start = tf.zeros((tf.shape(current)[0], 3))
            spikes, _ = lif(neuron, current, start)
            total = tf.reduce_sum(spikes * current)
        return spikes, tape.gradient(total, current)

    for shape in [(2, 5, 3), (1, 7, 3)]:
        current = exact_current(rng, shape)
        spikes, slope = gradient(current)
        expected, _ = reference.lif(current, 0.5, 0.5, 1.0)
        np.testing.assert_array_equal(spikes, expected)
        assert np.isfinite(slope).all()
        assert np.abs(slope).max() > 0
