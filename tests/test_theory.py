import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from keras_snn import theory

# The six neurons of Table A6 with theta = 1, drawn in Fig. 2, with the
# root-mean-square distance of Theorem 1 and of Theorem 2 from the response, on
# 400 currents up to 1.2 times the saturating one. The distances were computed
# from the exact rate 1/n, n = floor(log(1 - (1-k) theta/(lam i)) / log k) + 1
# (k = 1: floor(theta/(lam i)) + 1), not from a simulation. The theorems let
# time flow; the neuron counts whole timesteps: that is what sets them apart.
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
    # From rest u_n = lam i (1 + k + ... + k^(n-1)), then the potential is zero
    # again: every spike takes the first n for which u_n > theta.
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
    # A potential that leaks continuously, u' = (k - 1) u + lam i, reaches theta
    # at time n; Theorem 1 says 1 / n. Invert it: choose n > 1, find i.
    n = np.array([1.01, 1.5, 4.0, 12.0])
    current = theta * (k - 1) / (lam * np.expm1((k - 1) * n))
    rate = theory.firing_rate(current, *neuron)
    np.testing.assert_allclose(rate, 1 / n, rtol=1e-6)


@given(neurons)
def test_rate_approaches_the_unclipped_asymptote(neuron):
    k, lam, theta = neuron
    if k > 0.99:
        return
    # Theorem 2, far out: (k-1)/ln(1 + (k-1) theta/(lam i)) - f_a -> 0.
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


@pytest.mark.parametrize("law", [theory.firing_rate, theory.asymptote])
@pytest.mark.parametrize(
    ("k", "lam", "theta", "message"),
    [
        (1.5, 1.0, 1.0, r"`k` must be in \(0, 1\]. Received: k=1.5"),
        (0.0, 1.0, 1.0, r"`k` must be in \(0, 1\]. Received: k=0.0"),
        (0.5, 0.0, 1.0, "`lam` must be above 0. Received: lam=0.0"),
        (0.5, 1.0, -2, "`theta` must be above 0. Received: theta=-2"),
        (0.5, 1.0, math.inf, "`theta` must be above 0. Received: theta=inf"),
        (math.nan, 1.0, 1.0, r"`k` must be in \(0, 1\]. Received: k=nan"),
    ],
)
def test_impossible_neurons_are_refused(law, k, lam, theta, message):
    with pytest.raises(ValueError, match=message):
        law(1.0, k, lam, theta)


def test_a_neuron_of_the_wrong_type_is_refused():
    with pytest.raises(TypeError, match="`k` must be a number in .* k='0.5'"):
        theory.transition_current("0.5", 1.0, 1.0)
    with pytest.raises(TypeError, match="`lam` must be a number .* lam=True"):
        theory.transition_current(0.5, True, 1.0)


def test_simulation_needs_a_timestep():
    with pytest.raises(ValueError, match="`timesteps` must be at least 1"):
        theory.simulate(1.0, 0.5, 0.5, 1.0, timesteps=0)
