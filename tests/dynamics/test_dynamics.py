"""The fused loops against the step-by-step definition and against NumPy."""

import copy
import importlib.util
import mmap
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import reference
from backend import gradients, to_numpy
from hypothesis import given
from hypothesis import strategies as st

from keras_snn import dynamics, surrogates
from keras_snn.dynamics import reference as stepwise

SURROGATES = {
    **surrogates.NAMES,
    "gated": lambda: surrogates.SpikeGated("sigmoid"),
}
CASES = [
    pytest.param(reset, detach, id=f"{reset}-{'detached' if detach else ''}")
    for reset in dynamics.RESETS
    for detach in (False, True)
]
neurons = st.builds(
    dynamics.Neuron,
    k=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    lam=st.sampled_from([0.25, 0.5, 1.0]),
    theta=st.sampled_from([0.5, 1.0, 1.5]),
    surrogate=st.sampled_from([surrogates.Arctan(), surrogates.Tanh()]),
    reset=st.sampled_from(dynamics.RESETS),
    detach_reset=st.booleans(),
)


def exact_current(rng, shape):
    """Sixteenths: with `k` a power of 1/2, few steps stay exact in float32."""
    return (rng.integers(-16, 49, size=shape) / 16).astype("float32")


def run(function, neuron, current, potential=None, mask=None):
    if potential is None:
        potential = np.zeros((current.shape[0], current.shape[2]), "float32")
    outputs = function(
        neuron,
        keras.ops.convert_to_tensor(current),
        keras.ops.convert_to_tensor(potential),
        mask,
    )
    return [to_numpy(output) for output in outputs]


@pytest.mark.parametrize(("reset", "detach"), CASES)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_fused_equals_stepwise(rng, reset, detach, surrogate, masked):
    neuron = dynamics.Neuron(
        0.5, 0.5, 1.0, SURROGATES[surrogate](), reset, detach
    )
    arrays = [
        exact_current(rng, (3, 8, 5)),
        exact_current(rng, (3, 5)),
    ]
    cotangents = [
        rng.normal(size=(3, 8, 5)).astype("float32"),
        rng.normal(size=(3, 5)).astype("float32"),
    ]
    mask = None
    if masked:
        mask = rng.random((3, 8)) < 0.7
        mask[1] = False  # a sample that never runs
        mask = keras.ops.convert_to_tensor(mask)

    fused = run(dynamics.lif, neuron, *arrays, mask)
    expected = run(stepwise.lif, neuron, *arrays, mask)
    assert 0 < expected[0].mean() < 1
    for ours, theirs in zip(fused, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    fused, expected = (
        gradients(
            lambda i, v, lif=lif: lif(neuron, i, v, mask), arrays, cotangents
        )
        for lif in (dynamics.lif, stepwise.lif)
    )
    for ours, theirs in zip(fused, expected, strict=True):
        assert np.abs(theirs).max() > 0
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert error < 1e-6


@pytest.mark.parametrize(("reset", "detach"), CASES)
@pytest.mark.parametrize("surrogate", surrogates.NAMES)
def test_fused_equals_numpy(rng, reset, detach, surrogate):
    constants = {"k": 0.5, "lam": 0.5, "theta": 1.0}
    neuron = dynamics.Neuron(
        **constants, surrogate=surrogate, reset=reset, detach_reset=detach
    )
    current = exact_current(rng, (3, 8, 5))
    cotangents = [
        rng.normal(size=(3, 8, 5)).astype("float32"),
        rng.normal(size=(3, 5)).astype("float32"),
    ]
    spikes, potential = run(dynamics.lif, neuron, current)
    expected = reference.lif(current, **constants, reset=reset)
    np.testing.assert_array_equal(spikes, expected[0])
    np.testing.assert_array_equal(potential, expected[1])

    a = reference.STEEPNESS[surrogate]
    expected = reference.gradient(
        current,
        *cotangents,
        lambda x: reference.DERIVATIVE[surrogate](x, a),
        **constants,
        reset=reset,
        detach_reset=detach,
    )
    zeros = np.zeros((3, 5), "float32")
    gradient, _ = gradients(
        lambda i, v: dynamics.lif(neuron, i, v), [current, zeros], cotangents
    )
    # float32 through eight timesteps against float64.
    assert np.linalg.norm(gradient - expected) < 1e-6 * np.linalg.norm(expected)


@given(neurons, st.integers(0, 2**16))
def test_two_halves_with_carried_potential_are_the_whole(neuron, seed):
    current = exact_current(np.random.default_rng(seed), (2, 6, 3))
    spikes, potential = run(dynamics.lif, neuron, current)
    first, carried = run(dynamics.lif, neuron, current[:, :3])
    second, final = run(dynamics.lif, neuron, current[:, 3:], carried)
    np.testing.assert_array_equal(np.concatenate([first, second], 1), spikes)
    np.testing.assert_array_equal(final, potential)


@given(neurons, st.integers(0, 2**16))
def test_batch_samples_are_independent(neuron, seed):
    current = exact_current(np.random.default_rng(seed), (3, 6, 3))
    spikes, _ = run(dynamics.lif, neuron, current)
    # Same batch size, so that nothing is compiled anew.
    alone, _ = run(dynamics.lif, neuron, np.repeat(current[1:2], 3, axis=0))
    np.testing.assert_array_equal(alone[0], spikes[1])


@given(st.integers(0, 2**16))
def test_charge_is_conserved_by_reset_by_subtraction(seed):
    # k = 1: lam x total current = theta x spikes + final potential.
    neuron = dynamics.Neuron(1.0, 0.5, 1.0, "arctan", reset="subtract")
    current = exact_current(np.random.default_rng(seed), (2, 10, 4))
    spikes, potential = run(dynamics.lif, neuron, current)
    np.testing.assert_array_equal(
        0.5 * current.sum(1), spikes.sum(1) + potential
    )


@given(neurons, st.integers(0, 2**16))
def test_doubling_threshold_and_current_changes_no_spike(neuron, seed):
    current = exact_current(np.random.default_rng(seed), (2, 6, 3))
    doubled = dynamics.Neuron(
        neuron.k, neuron.lam, 2 * neuron.theta, "arctan", neuron.reset
    )
    spikes, _ = run(dynamics.lif, neuron, current)
    np.testing.assert_array_equal(
        run(dynamics.lif, doubled, 2 * current)[0], spikes
    )


@pytest.mark.parametrize("reset", dynamics.RESETS)
def test_nothing_fires_at_the_threshold_itself(reset):
    neuron = dynamics.Neuron(1.0, 1.0, 1.0, "arctan", reset)
    at = np.array([[[1.0], [0.0], [0.0]]], "float32")
    spikes, potential = run(dynamics.lif, neuron, at)
    assert not spikes.any()
    assert potential == 1.0
    spikes, _ = run(dynamics.lif, neuron, np.nextafter(at, 2 * at))
    assert spikes[0, 0, 0] == 1


def test_no_input_never_fires():
    neuron = dynamics.Neuron(0.8, 0.2, 1.0, "arctan")
    spikes, _ = run(dynamics.lif, neuron, np.zeros((2, 50, 3), "float32"))
    assert not spikes.any()


def test_final_potential_alone_has_a_gradient():
    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan", reset="none")
    current = np.zeros((1, 3, 1), "float32")
    potential = np.zeros((1, 1), "float32")
    ones = np.ones((1, 1), "float32")
    at_current, at_potential = gradients(
        lambda i, v: dynamics.lif(neuron, i, v)[1:],
        [current, potential],
        [ones],
    )
    # v_3 = k^3 v_0 + lam (k^2 i_0 + k i_1 + i_2)
    assert at_current.ravel().tolist() == [0.125, 0.25, 0.5]
    assert at_potential.item() == 0.125


@pytest.mark.parametrize(("reset", "detach"), CASES)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_the_fused_loop_is_the_one_that_runs(
    rng, reset, detach, surrogate, masked, monkeypatch
):
    def forbidden(*args):
        raise AssertionError("the definition ran, step by step")

    # Every way to compute a timestep but the fused one.
    monkeypatch.setattr(dynamics.Neuron, "step", forbidden)
    monkeypatch.setattr(surrogates.Surrogate, "__call__", forbidden)
    # A threshold of its own: nothing compiled before is taken.
    neuron = dynamics.Neuron(
        0.5, 0.5, 1.25, SURROGATES[surrogate](), reset, detach
    )
    current = exact_current(rng, (2, 4, 3))
    potential = np.zeros((2, 3), "float32")
    mask = keras.ops.convert_to_tensor(rng.random((2, 4)) < 0.7)
    gradients(
        lambda i, v: dynamics.lif(neuron, i, v, mask if masked else None),
        [current, potential],
        [current, potential],
    )
    with pytest.raises(AssertionError, match="step by step"):
        run(stepwise.lif, neuron, current)


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="Keras's NumPy backend wants JAX, which is not installed",
)
def test_a_backend_without_gradients_runs_the_definition():
    code = """
import numpy as np
from keras_snn import dynamics
from keras_snn.dynamics import reference
assert dynamics._backend is reference
neuron = dynamics.Neuron(0.5, 1.0, 1.25, "arctan")
current = np.ones((1, 4, 1), "float32")
spikes, _ = dynamics.lif(neuron, current, np.zeros((1, 1), "float32"))
assert spikes.ravel().tolist() == [0, 1, 0, 1], spikes
"""
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"KERAS_BACKEND": "numpy"},
    )


def test_a_copied_neuron_keeps_a_number_that_stands_for_it():
    neuron = dynamics.Neuron(0.3, 0.7, 1.1, "tanh")
    for copied in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert copied == neuron
        assert dynamics.Neuron.numbered(copied.number) == neuron
    other = dynamics.Neuron(0.3, 0.7, 1.1, "tanh", reset="none")
    assert dynamics.Neuron.numbered(other.number) == other


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's memory and blocks"
)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_huge_pages_and_small_blocks_change_nothing(rng, masked, monkeypatch):
    from keras_snn.dynamics import pages
    from keras_snn.dynamics import torch as loops

    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
    current = exact_current(rng, (3, 8, 5))
    start = exact_current(rng, (3, 5))
    mask = keras.ops.convert_to_tensor(rng.random((3, 8)) < 0.7)
    arguments = neuron, current, start, mask if masked else None

    def both():
        function = lambda i, v: dynamics.lif(neuron, i, v, arguments[3])  # noqa: E731
        found = gradients(function, [current, start], [current, start])
        return [*run(dynamics.lif, *arguments), *found]

    expected = both()
    monkeypatch.setattr(pages, "LARGE", 1)
    # A block of two columns of one sample.
    monkeypatch.setattr(loops, "FORWARD_BLOCK", 16)
    monkeypatch.setattr(loops, "BACKWARD_BLOCK", 16)
    for _ in range(2):  # in fresh pages, then in used ones
        for ours, theirs in zip(both(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(
    keras.config.backend() != "torch" or not hasattr(mmap, "MADV_HUGEPAGE"),
    reason="PyTorch's memory on Linux",
)
def test_the_memory_of_a_large_array_is_used_again(monkeypatch):
    import torch

    from keras_snn.dynamics import pages

    monkeypatch.setattr(pages, "_free", {})
    array = torch.zeros(pages.LARGE // 4)
    first = pages.empty_like(array)
    second = pages.empty_like(array)
    assert first.shape == array.shape
    assert first.dtype == array.dtype
    place = first.data_ptr()
    assert second.data_ptr() != place
    part = first[3:5]
    del first  # a part of it is still in use
    third = pages.empty_like(array)
    assert third.data_ptr() != place
    del part
    again = pages.empty_like(array.view(2, -1).to(torch.int32))
    assert again.data_ptr() == place
    assert (again.shape, again.dtype) == ((2, len(array) // 2), torch.int32)
    del second, third, again
    assert sum(map(len, pages._free.values())) == 3
    # Another size: what the old ones left is let go.
    pages.empty_like(torch.zeros(pages.LARGE))
    assert list(pages._free) == [pages.LARGE * 4]
    small = pages.empty_like(torch.zeros(4, 5).T)
    assert (tuple(small.shape), small.is_contiguous()) == ((5, 4), True)
    # No more is kept than the limit.
    monkeypatch.setattr(pages, "MOST", 2 * pages.LARGE)
    monkeypatch.setattr(pages, "_free", {})
    used = [pages.empty_like(array) for _ in range(3)]
    del used
    assert list(map(len, pages._free.values())) == [2]


def test_double_precision_leaks_by_all_its_digits(rng):
    if keras.config.backend() == "jax":
        pytest.skip("JAX has float64 only where it is switched on at the start")
    neuron = dynamics.Neuron(0.8, 0.3, 1.0, "arctan")
    current = rng.normal(1, 3, size=(2, 9, 3))
    start = np.zeros((2, 3))
    weights = [rng.normal(size=(2, 9, 3)), rng.normal(size=(2, 3))]

    def total(i, v):
        outputs = dynamics.lif(neuron, i, v)
        return sum(
            keras.ops.sum(output * keras.ops.convert_to_tensor(weight))
            for output, weight in zip(outputs, weights, strict=True)
        )

    if keras.config.backend() == "torch":
        tensors = [
            keras.ops.convert_to_tensor(x).requires_grad_()
            for x in (current, start)
        ]
        total(*tensors).backward()
        gradient = tensors[0].grad.numpy()
    else:
        import tensorflow as tf

        tensors = [tf.constant(x) for x in (current, start)]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = total(*tensors)
        gradient = tape.gradient(value, tensors)[0].numpy()
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
        spikes, final = dynamics.lif(neuron, x, start)
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
    spikes, _ = dynamics.lif(neuron, current, torch.zeros(3, 5))
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
def test_equal_neurons_of_equal_shape_are_traced_once():
    def compiled():
        if keras.config.backend() == "jax":
            from keras_snn.dynamics import jax

            return jax._jitted._cache_size()
        from keras_snn.dynamics import tensorflow

        forward = tensorflow._compiled(tensorflow.loop.forward, neuron)
        return forward.experimental_get_tracing_count()

    current = np.ones((2, 5, 3), "float32")
    neuron = dynamics.Neuron(0.3, 0.7, 1.1, "tanh")
    run(dynamics.lif, neuron, current)
    once = compiled()
    run(dynamics.lif, neuron, current)
    run(dynamics.lif, dynamics.Neuron(0.3, 0.7, 1.1, "tanh"), current)
    assert compiled() == once


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="vmap and jit are JAX's"
)
def test_jax_transformations_change_nothing(rng):
    import jax

    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan")
    current = exact_current(rng, (4, 2, 6, 3))
    potential = np.zeros((2, 3), "float32")

    def total(current):
        spikes, final = dynamics.lif(neuron, current, potential)
        return (spikes * current).sum() + final.sum()

    one_by_one = np.stack([jax.grad(total)(x) for x in current])
    at_once = jax.jit(jax.vmap(jax.grad(total)))(current)
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-6)


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
            spikes, _ = dynamics.lif(neuron, current, start)
            total = tf.reduce_sum(spikes * current)
        return spikes, tape.gradient(total, current)

    for shape in [(2, 5, 3), (1, 7, 3)]:
        current = exact_current(rng, shape)
        spikes, slope = gradient(current)
        expected, _ = reference.lif(current, 0.5, 0.5, 1.0)
        np.testing.assert_array_equal(spikes, expected)
        assert np.isfinite(slope).all()
        assert np.abs(slope).max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 1.5}, r"`k` must be in \(0, 1\]. Received: k=1.5"),
        ({"lam": 0}, "`lam` must be above 0. Received: lam=0"),
        ({"theta": -1.0}, "`theta` must be above 0. Received: theta=-1.0"),
        ({"surrogate": "step"}, "`surrogate` must be one of 'sigmoid'"),
        (
            {"reset": "soft"},
            "`reset` must be one of 'zero', 'subtract', 'none'. "
            "Received: reset='soft'",
        ),
        ({"detach_reset": "yes"}, "`detach_reset` must be one of False, True"),
    ],
    ids=str,
)
def test_impossible_neurons_are_refused(change, message):
    arguments = {"k": 0.5, "lam": 1.0, "theta": 1.0, "surrogate": "arctan"}
    with pytest.raises(ValueError, match=message):
        dynamics.Neuron(**arguments | change)
