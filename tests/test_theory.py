import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from keras_snn import theory

# The six neurons of Fig. 2 and Table A6 with theta = 1. The values are the
# root-mean-square distances of Theorem 1 and Theorem 2 from the response, over
# 400 currents up to 1.2 times the saturating one. They were computed from the
# exact rate 1/n, n = floor(log(1 - (1-k) theta/(lam i)) / log k) + 1 (for k = 1
# floor(theta/(lam i)) + 1), not from a simulation. They are not zero, because
# the theorems use continuous time and the neuron whole timesteps.
FIG_2 = {
    (0.3, 0.1): (0.1223, 0.1346),
    (0.8, 0.2): (0.1278, 0.1313),
    (0.8, 0.5): (0.1278, 0.1313),
    (0.2, 0.8): (0.1527, 0.1585),
    (1.0, 1.0): (0.1901, 0.1901),
    (0.5, 4.0): (0.0869, 0.1035),
}
neurons = st.tuples(
    st.floats(0.05, 1.0), st.floats(0.05, 5.0), st.floats(0.1, 4.0)
)


def saturation(k, lam, theta):
    return theta / lam * (1 if k == 1 else (k - 1) / (math.exp(k - 1) - 1))


@pytest.mark.parametrize("neuron", FIG_2, ids=str)
def test_fig_2_theory_and_asymptote_follow_the_simulated_response(neuron):
    k, lam = neuron
    current = np.linspace(0, 1.2 * saturation(k, lam, 1.0), 400)
    spikes, _ = theory.simulate(current, k, lam, 1.0, timesteps=2000)
    distances = [
        np.sqrt(np.mean((law(current, k, lam, 1.0) - spikes.mean(0)) ** 2))
        for law in (theory.firing_rate, theory.asymptote)
    ]
    # 2000 timesteps hold a whole number of periods to within 1/2000.
    np.testing.assert_allclose(distances, FIG_2[neuron], atol=5e-4)


@given(neurons, st.floats(0.01, 20.0))
def test_simulation_fires_after_the_closed_form_period(neuron, current):
    k, lam, theta = neuron
    # From rest u_n = lam i (1 + k + ... + k^(n-1)). The first n with
    # u_n > theta is the period, because every spike resets the potential to 0.
    reached, potential = [], 0.0
    for _ in range(60):
        potential = potential * k + lam * current
        reached.append(potential > theta)
    expected = np.zeros(60)
    if any(reached):
        period = reached.index(True) + 1
        expected[period - 1 :: period] = 1
    spikes, _ = theory.simulate(current, *neuron, timesteps=60)
    np.testing.assert_array_equal(spikes, expected)


def test_simulation_is_the_reference_neuron(rng):
    current = rng.integers(-16, 33, size=7) / 16
    repeated = np.repeat(current[None, None], 30, axis=1)
    expected, _ = reference.lif(repeated, k=0.5, lam=0.5, theta=1.0)
    spikes, potential = theory.simulate(current, 0.5, 0.5, 1.0, timesteps=30)
    np.testing.assert_array_equal(spikes, expected[0])
    np.testing.assert_array_equal(spikes, potential > 1.0)


def test_a_potential_at_the_threshold_does_not_fire():
    # Eq. 2 by hand: H(0) = 0.
    spikes, potential = theory.simulate(
        1.0, k=1.0, lam=0.5, theta=1.0, timesteps=4
    )
    assert potential.tolist() == [0.5, 1.0, 1.5, 0.5]
    assert spikes.tolist() == [0.0, 0.0, 1.0, 0.0]


def test_rate_without_a_leak_is_the_clipped_line():
    # lam i / theta, by hand.
    rate = theory.firing_rate([-1.0, 0.5, 3.0, 9.0], k=1.0, lam=0.5, theta=2.0)
    assert rate.tolist() == [0.0, 0.125, 0.75, 1.0]


@pytest.mark.parametrize(
    "law",
    [
        theory.firing_rate,
        theory.asymptote,
        lambda *arguments: theory.simulate(*arguments, timesteps=3)[1],
    ],
    ids=["rate", "asymptote", "simulate"],
)
@pytest.mark.parametrize("k", [0.5, 1.0])
def test_laws_take_any_numbers_and_compute_in_float64(law, k):
    expected = law(np.array([1.0, 2.0]), k, 0.3, 1.0)
    assert expected.dtype == "float64"
    for kind in (list, np.float32, np.int8):
        current = [1, 2] if kind is list else np.array([1, 2], kind)
        rate = law(current, k, 0.3, 1.0)
        assert rate.dtype == "float64"
        np.testing.assert_array_equal(rate, expected)


@given(neurons)
def test_rate_is_zero_below_one_above_and_rises_between(neuron):
    k, lam, theta = neuron
    silence = (1 - k) * theta / lam
    full = saturation(*neuron)
    inside = np.linspace(silence, full, 50)
    rate = theory.firing_rate(inside, *neuron)
    assert (np.diff(rate) >= 0).all()
    assert ((rate >= 0) & (rate <= 1)).all()
    assert theory.firing_rate(-1.0, *neuron) == 0
    assert theory.firing_rate(silence * 0.999, *neuron) == 0
    assert theory.firing_rate(full * 1.001, *neuron) == 1


@given(neurons)
def test_rate_is_the_inverse_of_the_time_to_threshold(neuron):
    k, lam, theta = neuron
    if k > 0.999:
        return
    # In continuous time, u' = (k - 1) u + lam i reaches theta at time n, and
    # the rate is 1 / n. Choose n > 1, and solve for i.
    n = np.array([1.01, 1.5, 4.0, 12.0])
    current = theta * (k - 1) / (lam * np.expm1((k - 1) * n))
    rate = theory.firing_rate(current, *neuron)
    np.testing.assert_allclose(rate, 1 / n, rtol=1e-6)


@given(neurons)
def test_rate_approaches_the_unclipped_asymptote(neuron):
    k, lam, theta = neuron
    if k > 0.99:
        return
    # Theorem 2 at a large current: (k-1)/ln(1 + (k-1) theta/(lam i)) - f_a -> 0
    current = 1e4 * theta / lam
    exact = (k - 1) / math.log1p((k - 1) * theta / (lam * current))
    line = lam / theta * current + (k - 1) / 2
    assert exact == pytest.approx(line, abs=1e-4)


@given(neurons)
def test_transition_current_is_where_the_asymptote_leaves_zero(neuron):
    transition = theory.transition_current(*neuron)
    slope = neuron[1] / neuron[2]
    assert theory.asymptote(transition, *neuron) == pytest.approx(0, abs=1e-9)
    beyond = theory.asymptote(transition + 0.25 / slope, *neuron)
    assert beyond == pytest.approx(0.25, abs=1e-9)


@given(neurons)
def test_transition_current_settles_at_half_the_threshold(neuron):
    k, lam, theta = neuron
    if k > 0.95:
        return  # settles too slowly to wait for
    current = theory.transition_current(*neuron)
    spikes, potential = theory.simulate(current, *neuron, timesteps=400)
    assert potential[-1] == pytest.approx(theta / 2)
    assert not spikes.any()


def test_weight_stddev_is_equation_11():
    # 2 theta^2 / (lam^2 fan_in) with theta 3, lam 2, fan_in 8 is 9/16.
    assert theory.weight_stddev(8, lam=2.0, theta=3.0) == 0.75


@pytest.mark.parametrize(
    "law",
    [
        lambda **neuron: theory.firing_rate(1.0, **neuron),
        lambda **neuron: theory.asymptote(1.0, **neuron),
        lambda **neuron: theory.simulate(1.0, **neuron, timesteps=1),
        theory.transition_current,
    ],
    ids=["rate", "asymptote", "simulate", "transition"],
)
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"k": 1.5}, ValueError, r"`k` must be in \(0, 1\]. Received: k=1.5"),
        ({"k": 0.0}, ValueError, r"`k` must be in \(0, 1\]. Received: k=0.0"),
        ({"lam": 0.0}, ValueError, "`lam` must be above 0. Received: lam=0.0"),
        ({"theta": -2}, ValueError, "`theta` must be above 0. .* theta=-2"),
        ({"k": "0.5"}, TypeError, "`k` must be a number in .* k='0.5'"),
    ],
    ids=str,
)
def test_impossible_neurons_are_refused(law, wrong, error, message):
    with pytest.raises(error, match=message):
        law(**({"k": 0.5, "lam": 1.0, "theta": 1.0} | wrong))


@pytest.mark.parametrize("name", ["fan_in", "lam", "theta"])
def test_weights_need_inputs_a_gain_and_a_threshold(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*{name}=0"):
        theory.weight_stddev(**{"fan_in": 1, "lam": 1, "theta": 1, name: 0})


def test_simulation_needs_a_timestep():
    with pytest.raises(ValueError, match="`timesteps` must be at least 1"):
        theory.simulate(1.0, 0.5, 0.5, 1.0, timesteps=0)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_simulation_takes_a_current_per_timestep(reset):
    # Sixteenths and a threshold of 1 are exact.
    current = np.random.default_rng(0).integers(-16, 49, (9, 3)) / 16
    spikes, potential = theory.simulate(current, 0.5, 0.5, 1.0, reset=reset)
    expected, final = reference.lif(current[None], 0.5, 0.5, 1.0, reset)
    np.testing.assert_array_equal(spikes, expected[0])
    kept = {"zero": 0, "subtract": potential[-1] - 1}.get(reset, potential[-1])
    np.testing.assert_array_equal(
        np.where(spikes[-1], kept, potential[-1]), final[0]
    )
    assert 0 < spikes.mean() < 1


def test_a_constant_current_needs_timesteps():
    with pytest.raises(ValueError, match="`timesteps` must be given"):
        theory.simulate(1.0, 0.5, 0.5, 1.0)
