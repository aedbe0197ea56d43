import math

import numpy as np
import pytest

from keras_snn import validation


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (0, {}, "must be above 0. Received: x=0"),
        (math.inf, {}, "must be finite and above 0. Received: x=inf"),
        (math.nan, {}, "must be finite and above 0. Received: x=nan"),
        (1.5, {"high": 1}, r"must be in \(0, 1\]. Received: x=1.5"),
        (0, {"high": 1}, r"must be in \(0, 1\]. Received: x=0"),
        (1, {"high": 1, "included": "low"}, r"in \[0, 1\). Received: x=1"),
        (2, {"high": 1, "included": "both"}, r"in \[0, 1\]. Received: x=2"),
        (-1, {"included": "low"}, r"in \[0, inf\). Received: x=-1"),
        (math.inf, {"included": "both"}, r"in \[0, inf\). Received: x=inf"),
        (-3, {"low": -2}, "must be above -2. Received: x=-3"),
    ],
    ids=str,
)
def test_a_number_outside_its_range_is_refused(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        validation.check_number("x", value, **bounds)


@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["+", "-"])
def test_an_integer_beyond_floats_is_refused(value):
    with pytest.raises(ValueError, match="finite and above 0. Received: x=-?1"):
        validation.check_number("x", value)


@pytest.mark.parametrize("value", [1e39, -1e39, np.float64(1e300)])
def test_a_number_fits_into_float32(value):
    why = r"`x` must be at most 3.4e\+38 in absolute value.* Received: x="
    with pytest.raises(ValueError, match=why):
        validation.check_number("x", value, low=-np.inf)
    with pytest.raises(ValueError, match=why):
        validation.check_numbers("x", [1.0, value], -np.inf, np.inf, "high")


@pytest.mark.parametrize("value", [5e-324, float(np.finfo("float32").max)])
def test_small_numbers_and_the_largest_of_float32_are_taken(value):
    assert validation.check_number("x", value) == value


@pytest.mark.parametrize("value", ["0.5", True, None, 1j, np.ones(2)], ids=str)
def test_a_number_must_be_real(value):
    with pytest.raises(TypeError, match="`x` must be a number above 0. Rec"):
        validation.check_number("x", value)


def test_bounds_belong_to_the_range_only_if_included():
    assert validation.check_number("x", 1, high=1) == 1
    for bound in (0, 1):
        check = {"high": 1, "included": "both"}
        assert validation.check_number("x", bound, **check) == bound


@pytest.mark.parametrize(
    "kind", [int, float, np.float16, np.float32, np.float64, np.int8, np.uint64]
)
def test_numbers_come_back_as_floats(kind):
    assert type(validation.check_number("x", kind(1))) is float
    neuron = validation.check_neuron(kind(1), kind(2), kind(3))
    assert neuron == (1.0, 2.0, 3.0)
    assert {type(each) for each in neuron} == {float}


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(TypeError, match="`x` must be a number or an array"):
        validation.check_numbers("x", [[0.5], [0.5, 0.6]], 0, 1, "high")


@pytest.mark.parametrize("kind", [int, np.int8, np.uint64])
def test_counts_and_seeds_come_back_as_ints(kind):
    assert type(validation.check_count("n", kind(1))) is int
    assert type(validation.check_seed(kind(1))) is int


@pytest.mark.parametrize("value", [1.0, True, "1", None], ids=str)
def test_a_count_must_be_an_integer(value):
    with pytest.raises(TypeError, match="`n` must be an integer of at least 2"):
        validation.check_count("n", value, low=2)


def test_a_count_has_a_lower_bound():
    assert validation.check_count("n", 1) == 1
    with pytest.raises(ValueError, match="`n` must be at least 1. .* n=0"):
        validation.check_count("n", 0)
    assert validation.check_count("n", 2, low=2) == 2
    with pytest.raises(ValueError, match="`n` must be at least 2. .* n=1"):
        validation.check_count("n", 1, low=2)


def test_a_seed_is_none_or_31_bits_or_one_of_the_kinds():
    assert validation.check_seed(None) is None
    assert validation.check_seed(0) == 0
    assert validation.check_seed(2**31 - 1) == 2**31 - 1
    assert validation.check_seed("a", str) == "a"
    for value in (-1, 2**31):
        with pytest.raises(ValueError, match=r"`seed` must be in \[0, 2"):
            validation.check_seed(value)
    for value in (1.0, True, "1"):
        with pytest.raises(TypeError, match="`seed` must be `None` or an int"):
            validation.check_seed(value)


@pytest.mark.parametrize("value", [1, 0, 1.0, "True", None, np.True_], ids=str)
def test_only_a_boolean_is_a_boolean(value):
    with pytest.raises(ValueError, match="`x` must be one of False, True. Rec"):
        validation.check_choice("x", value, (False, True))


def test_a_choice_comes_back_as_it_was_offered():
    assert validation.check_choice("x", True, (False, True)) is True
    assert validation.check_choice("x", None, (None, "a")) is None
    assert type(validation.check_choice("x", np.str_("a"), ("a",))) is str


def test_a_time_axis_has_at_least_one_timestep():
    validation.check_time_axis(object(), (None, None, 3))
    for shape in ((4, 3), (4, 0, 3)):
        with pytest.raises(ValueError, match="`object` expects .*timesteps"):
            validation.check_time_axis(object(), shape)


def test_unknown_axes_fit_every_shape():
    validation.check_shape("mask", np.ones((2, 3)), (None, 3))
    for expected in ((2,), (2, 4)):
        with pytest.raises(ValueError, match="`mask` must have shape"):
            validation.check_shape("mask", np.ones((2, 3)), expected)
