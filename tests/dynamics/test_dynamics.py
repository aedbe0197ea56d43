"""The fused loops against the step-by-step definition and against NumPy."""

import copy
import importlib.util
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import reference
from backend import gradients
from drive import exact_current, lif, run, unrolled
from hypothesis import given
from hypothesis import strategies as st
from pairs import pairs

from keras_snn import dynamics, surrogates

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

    fused = run(lif, neuron, *arrays, mask)
    expected = run(unrolled, neuron, *arrays, mask)
    assert 0 < expected[0].mean() < 1
    for ours, theirs in zip(fused, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    fused, expected = (
        gradients(
            lambda i, v, lif=lif: lif(neuron, i, v, mask), arrays, cotangents
        )
        for lif in (lif, unrolled)
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
    spikes, potential = run(lif, neuron, current)
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
        lambda i, v: lif(neuron, i, v), [current, zeros], cotangents
    )
    # float32 through eight timesteps against float64.
    assert np.linalg.norm(gradient - expected) < 1e-6 * np.linalg.norm(expected)


@given(neurons, st.integers(0, 2**16))
def test_two_halves_with_carried_potential_are_the_whole(neuron, seed):
    current = exact_current(np.random.default_rng(seed), (2, 6, 3))
    spikes, potential = run(lif, neuron, current)
    first, carried = run(lif, neuron, current[:, :3])
    second, final = run(lif, neuron, current[:, 3:], carried)
    np.testing.assert_array_equal(np.concatenate([first, second], 1), spikes)
    np.testing.assert_array_equal(final, potential)


@given(neurons, st.integers(0, 2**16))
def test_batch_samples_are_independent(neuron, seed):
    current = exact_current(np.random.default_rng(seed), (3, 6, 3))
    spikes, _ = run(lif, neuron, current)
    # Same batch size, so that nothing is compiled anew.
    alone, _ = run(lif, neuron, np.repeat(current[1:2], 3, axis=0))
    np.testing.assert_array_equal(alone[0], spikes[1])


@given(st.integers(0, 2**16))
def test_charge_is_conserved_by_reset_by_subtraction(seed):
    # k = 1: lam x total current = theta x spikes + final potential.
    neuron = dynamics.Neuron(1.0, 0.5, 1.0, "arctan", reset="subtract")
    current = exact_current(np.random.default_rng(seed), (2, 10, 4))
    spikes, potential = run(lif, neuron, current)
    np.testing.assert_array_equal(
        0.5 * current.sum(1), spikes.sum(1) + potential
    )


@given(neurons, st.integers(0, 2**16))
def test_doubling_threshold_and_current_changes_no_spike(neuron, seed):
    current = exact_current(np.random.default_rng(seed), (2, 6, 3))
    doubled = dynamics.Neuron(
        neuron.k, neuron.lam, 2 * neuron.theta, "arctan", neuron.reset
    )
    spikes, _ = run(lif, neuron, current)
    np.testing.assert_array_equal(run(lif, doubled, 2 * current)[0], spikes)


@pytest.mark.parametrize("reset", dynamics.RESETS)
def test_nothing_fires_at_the_threshold_itself(reset):
    neuron = dynamics.Neuron(1.0, 1.0, 1.0, "arctan", reset)
    at = np.array([[[1.0], [0.0], [0.0]]], "float32")
    spikes, potential = run(lif, neuron, at)
    assert not spikes.any()
    assert potential == 1.0
    spikes, _ = run(lif, neuron, np.nextafter(at, 2 * at))
    assert spikes[0, 0, 0] == 1


def test_no_input_never_fires():
    neuron = dynamics.Neuron(0.8, 0.2, 1.0, "arctan")
    spikes, _ = run(lif, neuron, np.zeros((2, 50, 3), "float32"))
    assert not spikes.any()


def test_final_potential_alone_has_a_gradient():
    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan", reset="none")
    current = np.zeros((1, 3, 1), "float32")
    potential = np.zeros((1, 1), "float32")
    ones = np.ones((1, 1), "float32")
    at_current, at_potential = gradients(
        lambda i, v: lif(neuron, i, v)[1:],
        [current, potential],
        [ones],
    )
    # v_3 = k^3 v_0 + lam (k^2 i_0 + k i_1 + i_2)
    assert at_current.ravel().tolist() == [0.125, 0.25, 0.5]
    assert at_potential.item() == 0.125


@pairs(case=[case.values for case in CASES], surrogate=SURROGATES)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_the_fused_loop_is_the_one_that_runs(
    rng, case, surrogate, masked, monkeypatch
):
    def forbidden(*args):
        raise AssertionError("the definition ran, step by step")

    # Every way to compute a timestep but the fused one.
    monkeypatch.setattr(dynamics.System, "step", forbidden)
    monkeypatch.setattr(surrogates.Surrogate, "__call__", forbidden)
    # A threshold of its own: nothing compiled before is taken.
    neuron = dynamics.Neuron(0.5, 0.5, 1.25, SURROGATES[surrogate](), *case)
    current = exact_current(rng, (2, 4, 3))
    potential = np.zeros((2, 3), "float32")
    mask = keras.ops.convert_to_tensor(rng.random((2, 4)) < 0.7)
    gradients(
        lambda i, v: lif(neuron, i, v, mask if masked else None),
        [current, potential],
        [current, potential],
    )
    with pytest.raises(AssertionError, match="step by step"):
        run(unrolled, neuron, current)


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
start = np.zeros((1, 1), "float32")
spikes, _ = dynamics.run(neuron.system(), current, [start])
assert spikes.ravel().tolist() == [0, 1, 0, 1], spikes
"""
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"KERAS_BACKEND": "numpy"},
    )


def test_a_neuron_survives_copies():
    neuron = dynamics.Neuron(0.3, 0.7, 1.1, surrogates.SpikeGated("tanh"))
    for copied in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert copied == neuron


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("reset", dynamics.RESETS)
@pytest.mark.parametrize("function", [lif, unrolled])
def test_nan_stays_nan_and_reaches_nobody_else(rng, reset, masked, function):
    neuron = dynamics.Neuron(0.5, 0.5, 1.0, "arctan", reset)
    current = exact_current(rng, (3, 6, 4))
    mask = rng.random((3, 6)) < 0.7
    mask[1] = [True, True, False, True, True, True]
    mask = keras.ops.convert_to_tensor(mask) if masked else None
    expected, final = run(function, neuron, current, mask=mask)
    broken = current.copy()
    broken[1, 1, 2] = np.nan
    spikes, potential = run(function, neuron, broken, mask=mask)
    lost = np.zeros_like(spikes, bool)
    lost[1, 1:, 2] = True
    if masked:  # A masked timestep emits 0.
        lost[1, 2, 2] = False
    np.testing.assert_array_equal(np.isnan(spikes), lost)
    np.testing.assert_array_equal(spikes[~lost], expected[~lost])
    assert np.isnan(potential[1, 2])
    assert np.isnan(potential).sum() == 1
    if function is unrolled:
        return
    # The gradients of the others stay, too.
    start = np.zeros((3, 4), "float32")
    weights = np.ones_like(current), np.ones_like(start)
    before, after = (
        gradients(
            lambda i, v: function(neuron, i, v, mask), [x, start], weights
        )
        for x in (current, broken)
    )
    assert np.isnan(after[0][1, 1, 2])
    after[0][1, :, 2] = before[0][1, :, 2]
    np.testing.assert_array_equal(after[0], before[0])


@pytest.mark.parametrize("function", [lif, unrolled])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_infinite_current_fires_once_and_is_forgotten(dtype, function):
    neuron = dynamics.Neuron(0.5, 1.0, 1.25, "arctan")
    current = np.ones((1, 5, 1), dtype)
    with np.errstate(over="ignore"):
        current[0, 0] = 1e39  # Infinite in both dtypes.
    spikes, potential = run(function, neuron, current, np.zeros((1, 1), dtype))
    # Reset to zero, it goes on as from the start: 1, 1.5, 1, 1.5.
    assert spikes.ravel().tolist() == [1, 0, 1, 0, 1]
    assert potential.item() == 0
    if dtype == "float16":
        return
    # Infinitely far from the threshold there is no gradient, and the others are
    # those of the timesteps behind it alone.
    start, ones = np.zeros((1, 1), dtype), np.ones((1, 1), dtype)
    whole, rest = (
        gradients(
            lambda i, v: function(neuron, i, v),
            [x, start],
            [np.ones_like(x), ones],
        )[0]
        for x in (current, current[:, 1:])
    )
    assert np.abs(rest).min() > 0
    assert whole.ravel().tolist() == [0, *rest.ravel()]


@pytest.mark.parametrize("sign", [1, -1])
def test_potentials_beyond_half_precision_have_gradients(sign):
    # The potentials are +-80,000 or more, which float16 cannot hold.
    neuron = dynamics.Neuron(0.5, 4.0, 1.0, "arctan")
    current = np.full((1, 3, 1), 20_000 * sign, "float16")
    start, weights = np.zeros((1, 1), "float32"), [np.float32([[[1]]])]
    found = gradients(
        lambda i, v: lif(neuron, i, v)[:1], [current, start], weights
    )
    # There, the surrogate's derivative is below 1e-10.
    for gradient in found:
        np.testing.assert_allclose(gradient, 0, atol=1e-8)


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
