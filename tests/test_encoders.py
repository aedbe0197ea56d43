import math

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn.encoders import ConstantEncoder, PoissonEncoder, as_intensity

KINDS = [ConstantEncoder, PoissonEncoder]
both = pytest.mark.parametrize("kind", KINDS)


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


@pytest.mark.parametrize("intensity", [0.02, 0.3, 0.5, 0.97])
def test_poisson_fires_at_the_rate_of_the_intensity(intensity):
    images = np.full((20, 40, 25), intensity, "float32")
    spikes = to_numpy(PoissonEncoder(10)(images))
    assert set(np.unique(spikes)) == {0, 1}
    # Five standard errors of a binomial: one failure in a million seeds.
    error = math.sqrt(intensity * (1 - intensity) / spikes.size)
    assert spikes.mean() == pytest.approx(intensity, abs=5 * error)


def test_poisson_gives_every_pixel_its_own_rate():
    images = np.linspace(0, 1, 9, dtype="float32").reshape(1, 3, 3)
    rate = to_numpy(PoissonEncoder(20_000)(images)).mean(1)
    # Five standard errors of a binomial, at most sqrt(1 / 4n).
    np.testing.assert_allclose(rate, images, atol=5 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_poisson_never_fires_at_black_and_always_at_white(dtype):
    white = 255 if dtype == "uint8" else 1
    images = np.repeat([0, white], 1000).astype(dtype)[None]
    spikes = to_numpy(PoissonEncoder(100)(images))
    np.testing.assert_array_equal(spikes, np.tile(images / white, (1, 100, 1)))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["sample", "time", "pixel"])
def test_poisson_spikes_are_independent_of_their_neighbours(axis):
    images = np.full((20, 100), 0.5, "float32")
    spikes = to_numpy(PoissonEncoder(20)(images))
    equal = np.diff(spikes, axis=axis) == 0
    # Two fair coins agree half the time; pairs of neighbours, even those that
    # share a coin, do so independently: five standard errors of a binomial.
    assert equal.mean() == pytest.approx(0.5, abs=2.5 / math.sqrt(equal.size))


def test_poisson_spikes_are_new_at_every_call():
    encoder = PoissonEncoder(20, seed=3)
    images = np.full((20, 100), 0.5, "float32")
    equal = to_numpy(encoder(images)) == to_numpy(encoder(images))
    assert equal.mean() == pytest.approx(0.5, abs=2.5 / math.sqrt(equal.size))


def test_poisson_fires_at_random_in_inference_too():
    images = np.full((20, 100), 0.5, "float32")
    spikes = to_numpy(PoissonEncoder(20)(images, training=False))
    assert spikes.mean() == pytest.approx(0.5, abs=2.5 / math.sqrt(spikes.size))


def test_the_seed_decides_the_poisson_spikes(rng):
    images = rng.random((2, 5, 5, 1), "float32")
    first, again, other = (
        to_numpy(PoissonEncoder(8, seed=seed)(images)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_unseeded_poisson_encoders_differ():
    images = np.full((2, 5, 5, 1), 0.5, "float32")
    one, other = (to_numpy(PoissonEncoder(8)(images)) for _ in range(2))
    assert (one != other).any()


def test_keras_seed_makes_unseeded_poisson_encoders_reproducible():
    images = np.full((2, 5, 5, 1), 0.5, "float32")
    trains = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        trains.append(to_numpy(PoissonEncoder(8)(images)))
    np.testing.assert_array_equal(*trains)


def test_constant_repeats_the_image(rng):
    images = rng.random((2, 3, 4, 1), "float32")
    trains = to_numpy(ConstantEncoder(5)(images))
    expected = np.stack([images] * 5, axis=1)
    np.testing.assert_array_equal(trains, expected)


@pytest.mark.parametrize(
    "encoder",
    [lambda: ConstantEncoder(6), lambda: PoissonEncoder(6, seed=3)],
    ids=["constant", "poisson"],
)
def test_bytes_are_encoded_as_their_255th(encoder, rng):
    images = rng.integers(0, 256, (3, 8, 8, 1), "uint8")
    # A float32 rounding; no uniform number of this seed falls within it.
    np.testing.assert_allclose(
        to_numpy(encoder()(images)),
        to_numpy(encoder()((images / 255).astype("float32"))),
        rtol=2e-7,
    )


def test_as_intensity_scales_every_byte():
    images = np.arange(256, dtype="uint8")
    intensity = as_intensity(images)
    assert dtype_of(intensity) == keras.config.floatx()
    np.testing.assert_allclose(
        to_numpy(intensity), np.arange(256) / 255, rtol=2e-7
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_as_intensity_returns_floats_as_they_are(dtype):
    images = np.array([0, 0.25, 1], dtype)
    assert as_intensity(images) is images


def test_as_intensity_takes_tensors():
    images = keras.ops.convert_to_tensor([0, 0.25, 1])
    assert as_intensity(images) is images


@both
@pytest.mark.parametrize("shape", [(2, 7), (2, 4, 5), (2, 4, 5, 3), (2,)])
def test_time_is_put_behind_the_batch(kind, shape):
    encoder = kind(6)
    trains = encoder(np.ones(shape, "float32"))
    expected = (shape[0], 6, *shape[1:])
    assert tuple(trains.shape) == expected
    assert encoder.compute_output_shape(shape) == expected


@both
def test_a_functional_model_takes_batches_of_any_size(kind):
    inputs = keras.Input((4, 4, 1), dtype="uint8")
    model = keras.Model(inputs, kind(3)(inputs))
    assert model.output_shape == (None, 3, 4, 4, 1)
    images = np.full((5, 4, 4, 1), 255, "uint8")
    # Batches of 2, 2 and 1 in a compiled function, all white.
    trains = model.predict(images, batch_size=2, verbose=0)
    np.testing.assert_array_equal(trains, np.ones((5, 3, 4, 4, 1)))


@both
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_output_has_the_compute_dtype_of_the_policy(kind, dtype):
    encoder = kind(3, dtype="mixed_bfloat16")
    trains = encoder(np.ones((2, 4), dtype))
    assert dtype_of(trains) == "bfloat16"
    symbolic = encoder(keras.Input((4,), dtype=dtype))
    assert dtype_of(symbolic) == "bfloat16"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_poisson_rate_is_as_exact_in_mixed_precision(policy):
    # bfloat16 rounds this to 1, which would fire every time: of 100,000, 100
    # are missing on the average, and five standard errors are 50.
    images = np.full((10, 100), 0.999, "float32")
    spikes = to_numpy(PoissonEncoder(100, dtype=policy)(images))
    assert spikes.size - spikes.sum() == pytest.approx(100, abs=50)


@both
def test_configuration_comes_back(kind):
    given = {"timesteps": 6, "name": "coding", "dtype": "mixed_bfloat16"}
    if kind is PoissonEncoder:
        given["seed"] = 3
    encoder = kind(**given)
    copy = kind.from_config(encoder.get_config())
    assert copy.get_config() == encoder.get_config()
    assert (copy.timesteps, copy.name) == (6, "coding")
    assert getattr(copy, "seed", 3) == 3


@both
def test_a_saved_model_goes_on_as_the_original(kind, tmp_path):
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, kind(6)(inputs))
    images = np.full((2, 4, 4, 1), 0.5, "float32")
    before = to_numpy(model(images))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    after = to_numpy(model(images))
    np.testing.assert_array_equal(to_numpy(loaded(images)), after)
    # Not from the start, where an unsaved generator would be.
    assert (kind is PoissonEncoder) == (before != after).any()


@both
@pytest.mark.parametrize(
    ("timesteps", "error", "message"),
    [
        (0, ValueError, "`timesteps` must be at least 1. .*timesteps=0"),
        (1.5, TypeError, "`timesteps` must be an integer .*timesteps=1.5"),
        (True, TypeError, "`timesteps` must be an integer .*timesteps=True"),
    ],
)
def test_impossible_timesteps_are_refused(kind, timesteps, error, message):
    with pytest.raises(error, match=message):
        kind(timesteps)


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        ("3", TypeError, "`seed` must be `None` or an integer. .*seed='3'"),
        (True, TypeError, "`seed` must be `None` or an integer. .*seed=True"),
        (-1, ValueError, "`seed` must be at least 0. Received: seed=-1"),
    ],
)
def test_impossible_seeds_are_refused(seed, error, message):
    with pytest.raises(error, match=message):
        PoissonEncoder(3, seed=seed)


@both
@pytest.mark.parametrize(
    ("value", "received"), [(1.5, r"\[0, 1.5\]"), (-0.5, r"\[-0.5, 0\]")]
)
def test_floats_outside_the_unit_interval_are_refused(kind, value, received):
    images = np.zeros((2, 4), "float32")
    images[1, 2] = value
    with pytest.raises(
        ValueError, match=rf"`uint8`, or floats in \[0, 1\]..*{received}"
    ):
        kind(3)(images)


@both
@pytest.mark.parametrize("place", [0, 3, 7], ids=["first", "inside", "last"])
def test_nan_is_refused(kind, place):
    images = np.linspace(0, 1, 8, dtype="float32")
    images[place] = np.nan
    with pytest.raises(ValueError, match=r"must be `uint8`, or floats in \[0"):
        kind(3)(images.reshape(2, 4))


@both
@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_images_of_another_dtype_are_refused(kind, dtype):
    with pytest.raises(
        TypeError, match=r"must be `uint8`, or floats in \[0, 1\]. .*dtype="
    ):
        kind(3)(np.ones((2, 4), dtype))


def test_as_intensity_calls_the_images_by_the_name_given():
    with pytest.raises(ValueError, match="`x_test` must be `uint8`, or floats"):
        as_intensity(np.array([2.0]), name="x_test")
    with pytest.raises(TypeError, match="`x_test` must be `uint8`, or floats"):
        as_intensity(np.array([2]), name="x_test")
