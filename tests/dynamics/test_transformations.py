"""Derivatives of derivatives, and the transformations of `torch.func`."""

import types

import keras
import pytest
from drive import exact_current, lif

from keras_snn import dynamics
from keras_snn.encoders import RetinaEncoder

NEURON = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
needs_pytorch = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="torch.func is PyTorch's"
)


def weighted(current, weights, mask=None):
    """A scalar that depends on the spikes and on the final potential."""
    ops = keras.ops
    start = ops.zeros((current.shape[0], current.shape[2]))
    spikes, final = lif(NEURON, current, start, mask)
    return ops.sum(spikes * weights) + ops.sum(final)


def second_derivative(x, weights):
    if keras.config.backend() == "torch":
        import torch

        x = torch.tensor(x, requires_grad=True)
        total = weighted(x, torch.tensor(weights))
        (first,) = torch.autograd.grad(total, x, create_graph=True)
        return torch.autograd.grad(first.sum(), x)
    if keras.config.backend() == "jax":
        import jax

        first = jax.grad(weighted)
        return jax.grad(lambda x: first(x, weights).sum())(x)
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            total = weighted(x, weights)
        first = inner.gradient(total, x)
    return outer.gradient(first, x)


def test_second_derivatives_are_refused(rng):
    x = exact_current(rng, (2, 5, 3))
    weights = rng.normal(size=x.shape).astype("float32")
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        second_derivative(x, weights)


@needs_pytorch
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_gradients_per_sample_are_those_of_a_loop(rng, masked):
    import torch

    x = torch.tensor(exact_current(rng, (4, 2, 6, 3)))
    weights = torch.tensor(rng.normal(size=(2, 6, 3)).astype("float32"))
    mask = torch.tensor(rng.random((2, 6)) < 0.7) if masked else None
    gradient = torch.func.grad(lambda x: weighted(x, weights, mask))
    expected = torch.stack([gradient(each) for each in x])
    assert expected.abs().max() > 0
    # The same gradients as those of `backward`.
    leaf = x[0].clone().requires_grad_()
    weighted(leaf, weights, mask).backward()
    torch.testing.assert_close(expected[0], leaf.grad, rtol=0, atol=0)
    torch.testing.assert_close(
        torch.func.vmap(gradient)(x), expected, rtol=0, atol=0
    )
    torch.testing.assert_close(
        torch.func.vmap(gradient, in_dims=2)(x.movedim(0, 2)), expected
    )


@needs_pytorch
# PyTorch's forward mode still uses TorchScript.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_forward_mode_is_the_adjoint_of_the_gradient(rng):
    import torch

    x = torch.tensor(exact_current(rng, (2, 6, 3)))
    tangent = torch.tensor(rng.normal(size=(2, 6, 3)).astype("float32"))
    weights = torch.tensor(rng.normal(size=(2, 6, 3)).astype("float32"))

    def total(x):
        return weighted(x, weights)

    # The change of the scalar along a direction, forward and backward.
    _, forward = torch.func.jvp(total, (x,), (tangent,))
    backward = (torch.func.grad(total)(x) * tangent).sum()
    torch.testing.assert_close(forward, backward, rtol=1e-5, atol=1e-5)
    assert abs(float(forward)) > 0.1
    jacobians = [f(total)(x) for f in (torch.func.jacrev, torch.func.jacfwd)]
    torch.testing.assert_close(*jacobians, rtol=1e-5, atol=1e-6)


@needs_pytorch
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_gpu_runs_the_kernels(name, monkeypatch):
    import torch

    from keras_snn.dynamics import torch_adjoint, torch_loop

    kernels = types.SimpleNamespace(
        forward=lambda *_, **__: "kernel", backward=lambda *_: "kernel"
    )
    monkeypatch.setattr(torch_loop, "_gpu_module", lambda: kernels)
    module = torch_loop if name == "forward" else torch_adjoint
    loop, system = getattr(module, name), NEURON.system()
    current, states = torch.ones(2, 3, 4), (torch.zeros(2, 4),)
    others = [states] if name == "forward" else [current, states]

    def call(array):
        array = array if name == "forward" else (array,)
        return loop(system, array, *others, None)

    on_gpu = types.SimpleNamespace(is_cuda=True)
    assert call(on_gpu) == "kernel"
    assert call(current) != "kernel"
    # Without Triton, a GPU runs the loop, which reads the array.
    monkeypatch.setattr(torch_loop, "_gpu_module", lambda: None)
    with pytest.raises((AttributeError, TypeError), match="SimpleNamespace"):
        call(on_gpu)


@needs_pytorch
def test_vmap_encodes_as_a_loop_does(rng):
    import torch

    images = torch.tensor(rng.random((3, 2, 4)).astype("float32"))
    encoder = RetinaEncoder(5)
    expected = torch.stack([encoder(each) for each in images])
    torch.testing.assert_close(torch.func.vmap(encoder)(images), expected)
