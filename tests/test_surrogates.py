import keras
import numpy as np
import pytest
import reference
from backend import gradients, to_numpy

from keras_snn import surrogates

# Zero and the corners of the hard ramp, and points on both sides of each.
POINTS = np.array([-3, -0.75, -0.5, -0.4, 0, 0.01, 0.4, 0.5, 3], "float32")
NAMES = list(surrogates.NAMES)
# float32 against float64: a few units in the last place.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.mark.parametrize("a", [None, 0.5, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_smooth_step_and_derivative_are_their_formulas(name, a):
    surrogate = surrogates.NAMES[name](*([] if a is None else [a]))
    a = a or reference.STEEPNESS[name]
    x = POINTS.astype("float64")
    smooth = to_numpy(surrogate.smooth(POINTS))
    np.testing.assert_allclose(smooth, reference.SMOOTH[name](x, a), **CLOSE)
    slope = surrogate.derivative(keras.ops.convert_to_tensor(POINTS))
    np.testing.assert_allclose(
        to_numpy(slope), reference.DERIVATIVE[name](x, a), **CLOSE
    )


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("a", [0.5, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_is_that_of_the_smooth_step(name, a):
    # Halves of sixteenths are none of the corners, at 1 / a and 1 / (2 a).
    x = np.arange(-47.5, 48) / 16
    step = 2.0**-12
    surrogate = surrogates.NAMES[name](a)
    low, high, slope = (
        to_numpy(function(keras.ops.convert_to_tensor(at)))
        for function, at in [
            (surrogate.smooth, x - step),
            (surrogate.smooth, x + step),
            (surrogate.derivative, x),
        ]
    )
    # The error is a sixth of the third derivative, up to 540, by step^2, and
    # that of float32, which some steps are computed in.
    np.testing.assert_allclose((high - low) / (2 * step), slope, atol=1e-3)


@pytest.mark.parametrize("a", [0.5, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_smooth_step_rises_from_0_to_1(name, a):
    edges = np.array([-1e6, 0, 1e6], "float32")
    expected = np.array([0, 0.5, 1])
    if name == "fast_sigmoid":
        expected = np.array([0.5 - 1 / a, 0.5, 0.5 + 1 / a])
    smooth = to_numpy(surrogates.NAMES[name](a).smooth(edges))
    np.testing.assert_allclose(smooth, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_at_infinity_is_zero(name):
    far = np.array([-np.inf, np.inf], "float32")
    slope = surrogates.get(name).derivative(keras.ops.convert_to_tensor(far))
    np.testing.assert_array_equal(to_numpy(slope), 0)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_keep_float64(name):
    x = np.linspace(-3, 3, 43)
    slope = surrogates.get(name).derivative(keras.ops.convert_to_tensor(x))
    assert keras.backend.standardize_dtype(slope.dtype) == "float64"
    expected = reference.DERIVATIVE[name](x, reference.STEEPNESS[name])
    np.testing.assert_allclose(to_numpy(slope), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_the_strict_step(name):
    spikes = surrogates.get(name)(keras.ops.convert_to_tensor(POINTS))
    np.testing.assert_array_equal(to_numpy(spikes), POINTS > 0)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_derivative_times_the_upstream_gradient(name):
    upstream = np.linspace(-2, 2, len(POINTS)).astype("float32")
    (gradient,) = gradients(
        lambda x: (surrogates.get(name)(x),), [POINTS], [upstream]
    )
    a = reference.STEEPNESS[name]
    expected = upstream * reference.DERIVATIVE[name](POINTS.astype(float), a)
    np.testing.assert_allclose(gradient, expected, **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_gated_gradient_passes_only_where_a_spike_fired(name):
    ones = np.ones_like(POINTS)
    gated = surrogates.SpikeGated(name)
    (gradient,) = gradients(lambda x: (gated(x),), [POINTS], [ones])
    a = reference.STEEPNESS[name]
    expected = reference.DERIVATIVE[name](POINTS.astype(float), a)
    np.testing.assert_allclose(
        gradient, np.where(POINTS > 0, expected, 0), **CLOSE
    )


@pytest.mark.parametrize(
    "surrogate",
    [
        surrogates.Sigmoid(1.5),
        surrogates.Tanh(),
        surrogates.HardTanh(0.25),
        surrogates.Arctan(a=1),
        surrogates.FastSigmoid(25),
        surrogates.Triangular(0.5),
        surrogates.Exponential(1.5),
        surrogates.Gaussian(0.75),
        surrogates.SpikeGated("tanh"),
        surrogates.SpikeGated(surrogates.Arctan(0.5)),
    ],
    ids=str,
)
def test_serialized_surrogates_come_back_equal(surrogate):
    assert surrogates.get(surrogates.serialize(surrogate)) == surrogate
    assert type(surrogate).from_config(surrogate.get_config()) == surrogate


def test_names_stand_for_the_default_steepness():
    # The paper's as in Table A7, except arctan: the main runs use 2 (Table A4).
    steepness = {name: surrogates.get(name).a for name in NAMES}
    assert steepness == reference.STEEPNESS


@pytest.mark.parametrize("identifier", ["relu", 3, None, {"class_name": "a"}])
def test_unknown_surrogates_are_refused(identifier):
    with pytest.raises(
        ValueError, match="`surrogate` must be one of 'sigmoid'"
    ):
        surrogates.get(identifier)


def test_a_surrogate_without_a_derivative_is_refused():
    class Half(surrogates.Surrogate):
        def smooth(self, distance):
            return distance

    with pytest.raises(TypeError, match="abstract .*derivative"):
        Half()


def test_a_flat_surrogate_is_refused():
    with pytest.raises(ValueError, match="`a` must be above 0. Received: a=0"):
        surrogates.Arctan(0)


@pytest.mark.parametrize("kind", [int, np.float32, np.int64])
def test_a_steepness_is_stored_as_a_float(kind):
    surrogate = surrogates.Arctan(kind(1))
    assert type(surrogate.a) is float
    assert surrogate == surrogates.Arctan(1.0)


def test_fire_is_the_strict_step():
    spikes = surrogates.fire(keras.ops.convert_to_tensor(POINTS))
    np.testing.assert_array_equal(to_numpy(spikes), POINTS > 0)
