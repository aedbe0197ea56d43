import math

import keras
import numpy as np
import pytest
import reference
from backend import operations, to_numpy

from keras_snn.encoders import (
    ConstantEncoder,
    LatencyEncoder,
    PoissonEncoder,
    RetinaEncoder,
    as_intensity,
)

every = pytest.mark.parametrize(
    "kind", [ConstantEncoder, LatencyEncoder, PoissonEncoder, RetinaEncoder]
)
# Few shapes, for JAX compiles the random numbers of each.
GRAY = np.full((2, 4, 4, 1), 0.5, "float32")
MANY_GRAY = np.full((20, 100), 0.5, "float32")


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


@pytest.mark.parametrize("intensity", [0.02, 0.3, 0.5, 0.97])
def test_poisson_fires_at_the_rate_of_the_intensity(intensity):
    images = np.full_like(MANY_GRAY, intensity)
    spikes = to_numpy(PoissonEncoder(20)(images))
    assert set(np.unique(spikes)) == {0, 1}
    # Five standard errors of a binomial: one failure in a million seeds.
    error = math.sqrt(intensity * (1 - intensity) / spikes.size)
    assert spikes.mean() == pytest.approx(intensity, abs=5 * error)


def test_poisson_gives_every_pixel_its_own_rate():
    row = np.linspace(0, 1, 100, dtype="float32")
    spikes = to_numpy(PoissonEncoder(20)(np.tile(row, (20, 1))))
    # Five standard errors of a binomial of 20 timesteps of 20 images.
    error = np.sqrt(row * (1 - row) / 400)
    assert (abs(spikes.mean((0, 1)) - row) <= 5 * error).all()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_poisson_never_fires_at_black_and_always_at_white(dtype):
    white = 255 if dtype == "uint8" else 1
    images = np.tile([0, white], (20, 50)).astype(dtype)
    spikes = to_numpy(PoissonEncoder(20)(images))
    np.testing.assert_array_equal(spikes, np.tile([0, 1], (20, 20, 50)))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["sample", "time", "pixel"])
def test_poisson_spikes_are_independent_of_their_neighbours(axis):
    spikes = to_numpy(PoissonEncoder(20)(MANY_GRAY))
    equal = np.diff(spikes, axis=axis) == 0
    # Two fair coins agree half the time; pairs of neighbours, even those that
    # share a coin, do so independently: five standard errors of a binomial.
    assert equal.mean() == pytest.approx(0.5, abs=2.5 / math.sqrt(equal.size))


def test_poisson_spikes_are_new_at_every_call():
    encoder = PoissonEncoder(20, seed=3)
    equal = to_numpy(encoder(MANY_GRAY)) == to_numpy(encoder(MANY_GRAY))
    assert equal.mean() == pytest.approx(0.5, abs=2.5 / math.sqrt(equal.size))


def test_poisson_fires_at_random_in_inference_too():
    spikes = to_numpy(PoissonEncoder(20)(MANY_GRAY, training=False))
    assert spikes.mean() == pytest.approx(0.5, abs=2.5 / math.sqrt(spikes.size))


def test_the_seed_decides_the_poisson_spikes():
    first, again, other = (
        to_numpy(PoissonEncoder(6, seed=seed)(GRAY)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_unseeded_poisson_encoders_differ():
    one, other = (to_numpy(PoissonEncoder(6)(GRAY)) for _ in range(2))
    assert (one != other).any()


def test_keras_seed_makes_unseeded_poisson_encoders_reproducible():
    trains = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        trains.append(to_numpy(PoissonEncoder(6)(GRAY)))
    np.testing.assert_array_equal(*trains)


@pytest.mark.parametrize(
    ("reset", "train"),
    [
        # The accumulator counts 3/8, 6/8, 9/8: it fires, and goes to 0 ...
        ("zero", [0, 0, 1, 0, 0, 1, 0, 0]),
        # ... or to 1/8, 4/8, 7/8, 10/8 -> 2/8, 5/8, 8/8 -> 0: three of eight.
        ("subtract", [0, 0, 1, 0, 0, 1, 0, 1]),
    ],
)
def test_retina_fires_when_the_accumulator_reaches_the_threshold(reset, train):
    spikes = RetinaEncoder(8, reset=reset)(np.full((1, 1), 3 / 8, "float32"))
    assert to_numpy(spikes).ravel().tolist() == train


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize(
    # In float32, 41 times 1 / 41 is less than 1.
    ("gain", "threshold"),
    [(1, 1), (2, 3), (3, 2), (1, 10), (7, 1), (1, 41)],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_retina_encodes_every_byte_exactly(reset, gain, threshold, dtype):
    images = np.arange(256, dtype="uint8").reshape(4, 8, 8, 1)
    encoder = RetinaEncoder(120, float(gain), float(threshold), reset)
    x = images if dtype == "uint8" else (images / 255).astype("float32")
    np.testing.assert_array_equal(
        to_numpy(encoder(x)),
        reference.retina(images, 120, gain, threshold, reset),
    )


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_retina_stays_exact_over_2000_timesteps(reset):
    images = np.arange(256, dtype="uint8").reshape(2, 128)
    np.testing.assert_array_equal(
        to_numpy(RetinaEncoder(2000, reset=reset)(images)),
        reference.retina(images, 2000, reset=reset),
    )


@pytest.mark.parametrize("timesteps", [1, 7, 20])
def test_retina_by_subtraction_has_the_rate_of_the_intensity(timesteps, rng):
    images = rng.random((2, 30)).astype("float32")
    spikes = to_numpy(RetinaEncoder(timesteps, reset="subtract")(images))
    count = np.floor(timesteps * images.astype("float64"))
    np.testing.assert_array_equal(spikes.sum(1), count)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_retina_is_as_exact_in_half_precision(policy, reset):
    # bfloat16 knows no 254 / 255, and counts no further than 256.
    images = np.arange(256, dtype="uint8").reshape(2, 128)
    np.testing.assert_array_equal(
        to_numpy(RetinaEncoder(300, reset=reset, dtype=policy)(images)),
        reference.retina(images, 300, reset=reset),
    )


def test_retina_integrates_half_precision_images_in_float32():
    # The images are exact in half precision, tenths of them are not.
    images = np.arange(65)[None] / 64
    encoder = RetinaEncoder(300, gain=0.1, reset="subtract")
    spikes = encoder(images.astype("float16"))
    count = 300 * np.arange(65)[None] // 640
    np.testing.assert_array_equal(to_numpy(spikes).sum(1), count)


def test_retina_is_one_computation_however_many_timesteps():
    few, many = (
        operations(RetinaEncoder(timesteps), GRAY) for timesteps in (3, 50)
    )
    assert few == many > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gain": 0}, ValueError, "`gain` must be above 0. Received: gain=0"),
        ({"gain": "1"}, TypeError, "`gain` must be a number above 0. .*='1'"),
        ({"threshold": -1}, ValueError, "`threshold` must be above 0. .*=-1"),
        (
            {"reset": "none"},
            ValueError,
            "`reset` must be one of 'zero', 'subtract'. Received: reset='none'",
        ),
    ],
    ids=str,
)
def test_impossible_retinas_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        RetinaEncoder(3, **change)


def test_constant_repeats_the_image(rng):
    images = rng.random((2, 3, 4, 1), "float32")
    trains = to_numpy(ConstantEncoder(5)(images))
    expected = np.stack([images] * 5, axis=1)
    np.testing.assert_array_equal(trains, expected)


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: ConstantEncoder(6),
        lambda: PoissonEncoder(6, seed=3),
        lambda: RetinaEncoder(6),
        lambda: LatencyEncoder(6),
    ],
    ids=["constant", "poisson", "retina", "latency"],
)
def test_bytes_are_encoded_as_their_255th(encoder, rng):
    images = rng.integers(0, 256, (2, 4, 4, 1), "uint8")
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
def test_as_intensity_keeps_floats_up_to_one(dtype):
    images = np.array([0, 0.25, 1], dtype)
    intensity = as_intensity(images)
    np.testing.assert_array_equal(to_numpy(intensity), images)
    if keras.config.backend() != "jax":  # It has float64 only by a switch.
        assert dtype_of(intensity) == dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "int64"])
def test_as_intensity_scales_whole_numbers_of_any_dtype(dtype):
    images = np.array([0, 2, 51, 255], dtype)
    np.testing.assert_allclose(
        to_numpy(as_intensity(images)), [0, 2 / 255, 0.2, 1], rtol=1e-3
    )


def test_as_intensity_takes_tensors():
    images = keras.ops.convert_to_tensor([0, 0.25, 1])
    assert to_numpy(as_intensity(images)).tolist() == [0, 0.25, 1]


@every
@pytest.mark.parametrize("shape", [(2,), (2, 4), (2, 4, 4, 1)])
def test_time_is_put_behind_the_batch(kind, shape):
    encoder = kind(6)
    trains = encoder(np.ones(shape, "float32"))
    expected = (shape[0], 6, *shape[1:])
    assert tuple(trains.shape) == expected
    assert encoder.compute_output_shape(shape) == expected


@every
def test_no_images_give_no_trains(kind):
    # A replica gets no samples if a batch is smaller than their number.
    assert tuple(kind(6)(np.ones((0, 4), "float32")).shape) == (0, 6, 4)


@every
def test_a_functional_model_takes_batches_of_any_size(kind):
    inputs = keras.Input((4,), dtype="uint8")
    model = keras.Model(inputs, kind(6)(inputs))
    assert model.output_shape == (None, 6, 4)
    images = np.full((3, 4), 255, "uint8")
    # Batches of 2 and 1 in a compiled function, all white.
    trains = model.predict(images, batch_size=2, verbose=0)
    expected = np.ones((3, 6, 4))
    if kind is LatencyEncoder:  # one spike, at once
        expected[:, 1:] = 0
    np.testing.assert_array_equal(trains, expected)


@every
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_output_has_the_compute_dtype_of_the_policy(kind, dtype):
    encoder = kind(6, dtype="mixed_bfloat16")
    trains = encoder(np.ones((2, 4), dtype))
    assert dtype_of(trains) == "bfloat16"
    symbolic = encoder(keras.Input((4,), dtype=dtype))
    assert dtype_of(symbolic) == "bfloat16"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_poisson_rate_is_as_exact_in_mixed_precision(policy):
    # bfloat16 rounds this to 1, which would fire every time: of 40,000, 40 are
    # silent on the average, and five standard errors are 32.
    images = np.full_like(MANY_GRAY, 0.999)
    spikes = to_numpy(PoissonEncoder(20, dtype=policy)(images))
    assert (spikes == 0).sum() == pytest.approx(40, abs=32)


@every
def test_configuration_comes_back(kind):
    given = {"timesteps": 6, "name": "coding", "dtype": "mixed_bfloat16"}
    if kind is PoissonEncoder:
        given["seed"] = 3
    encoder = kind(**given)
    copy = kind.from_config(encoder.get_config())
    assert copy.get_config() == encoder.get_config()
    assert (copy.timesteps, copy.name) == (6, "coding")
    assert getattr(copy, "seed", 3) == 3


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: ConstantEncoder(6),
        lambda: PoissonEncoder(6, seed=3),
        lambda: RetinaEncoder(6),
        lambda: LatencyEncoder(6),
    ],
    ids=["constant", "poisson", "retina", "latency"],
)
def test_a_saved_model_encodes_as_the_original_did_at_first(encoder, tmp_path):
    # Keras saves the seed of a generator, not how far it has come.
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, encoder()(inputs))
    first = to_numpy(model(GRAY))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(GRAY)), first)


@every
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
        (-1, ValueError, "`seed` must be in .0, 2..31.. Received: seed=-1"),
    ],
)
def test_impossible_seeds_are_refused(seed, error, message):
    with pytest.raises(error, match=message):
        PoissonEncoder(3, seed=seed)


def test_a_numpy_integer_is_a_seed():
    # `check_seed` lets it through, as it does for the initializers.
    one, other = (
        to_numpy(PoissonEncoder(6, seed=seed)(GRAY))
        for seed in (3, np.int64(3))
    )
    np.testing.assert_array_equal(one, other)


@every
@pytest.mark.parametrize(
    ("value", "received"),
    [(1.5, r"\[0, 1.5\]"), (-0.5, r"\[-0.5, 0\]"), (256, r"\[0, 256\]")],
)
def test_neither_bytes_nor_intensities_are_refused(kind, value, received):
    images = np.zeros((2, 4), "float32")
    images[1, 2] = value
    with pytest.raises(
        ValueError, match=rf"floats in \[0, 1\] or whole numbers.*{received}"
    ):
        kind(3)(images)


@every
@pytest.mark.parametrize("place", [0, 3, 7], ids=["first", "inside", "last"])
def test_nan_is_refused(kind, place):
    images = np.linspace(0, 1, 8, dtype="float32")
    images[place] = np.nan
    with pytest.raises(
        ValueError, match=r"must be floats in \[0, 1\] or whole"
    ):
        kind(3)(images.reshape(2, 4))


@every
@pytest.mark.parametrize("value", [1.5, -1.0, 256.0, np.nan])
def test_a_compiled_encoder_turns_wrong_images_into_nan(kind, value):
    if keras.config.backend() == "torch":
        pytest.skip("PyTorch compiles nothing, and raises the error")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, kind(3)(inputs))
    images = np.zeros((2, 4), "float32")
    images[1, 2] = value
    assert np.isnan(model.predict(images, verbose=0)).all()
