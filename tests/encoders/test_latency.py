import importlib.util
import math

import numpy as np
import pytest
import reference
from backend import in_torch, needs_torch, operations, to_numpy

from keras_snn.encoders import LatencyEncoder

BYTES = np.arange(256, dtype="uint8").reshape(4, 8, 8, 1)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("timesteps", [1, 6, 20, 256])
def test_linear_latency_falls_with_the_intensity(timesteps, dtype):
    # No byte is halfway between two of these timesteps.
    images = BYTES if dtype == "uint8" else (BYTES / 255).astype("float32")
    expected = reference.latency(
        BYTES, timesteps, 0.01, lambda x: (timesteps - 1) * (1 - x)
    )
    spikes = LatencyEncoder(timesteps)(images)
    np.testing.assert_array_equal(to_numpy(spikes), expected)


@pytest.mark.parametrize("timesteps", [6, 20, 256])
@pytest.mark.parametrize("threshold", [0.01, 0.3])
def test_logarithmic_latency_is_the_time_to_the_threshold(timesteps, threshold):
    # Spikes beyond the time axis do not exist.
    tau = timesteps / 2
    spikes = LatencyEncoder(timesteps, "logarithmic", tau, threshold)(BYTES)
    expected = reference.latency(
        BYTES,
        timesteps,
        threshold,
        lambda x: tau * math.log(x / (x - threshold)),
    )
    np.testing.assert_array_equal(to_numpy(spikes), expected)
    assert 0 < expected.sum() < 255


def test_a_leaky_integrator_reaches_the_threshold_at_the_logarithmic_latency():
    # v' = (x - v) / tau, from v = 0, in steps of a thousandth of a timestep.
    x, threshold, tau, step = 0.5, 0.3, 10.0, 1e-3
    v, time = 0.0, 0.0
    while v < threshold:
        v, time = v + step * (x - v) / tau, time + step
    spikes = LatencyEncoder(20, "logarithmic", tau, threshold)(
        np.array([[x]], "float32")
    )
    # 9.16, so the error of the steps does not matter.
    assert np.flatnonzero(to_numpy(spikes)).tolist() == [round(time)] == [9]


@pytest.mark.parametrize("threshold", [0.01, 0.3, 254 / 255])
def test_by_default_the_darkest_byte_that_fires_does_so_last(threshold):
    encoder = LatencyEncoder(50, "logarithmic", threshold=threshold)
    spikes = to_numpy(encoder(BYTES)).swapaxes(0, 1).reshape(50, 256)
    fires = np.arange(256) / 255 > threshold
    np.testing.assert_array_equal(spikes.sum(0), fires)
    times = spikes.argmax(0)[fires]
    assert times[0] == 49
    assert (np.diff(times) <= 0).all()


@pytest.mark.parametrize("mode", ["linear", "logarithmic"])
def test_black_never_fires(mode):
    assert not to_numpy(LatencyEncoder(6, mode)(np.zeros((2, 4)))).any()


@pytest.mark.parametrize("mode", ["linear", "logarithmic"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_latency_is_as_exact_in_half_precision(mode, policy):
    full, half = (
        to_numpy(LatencyEncoder(300, mode, dtype=dtype)(BYTES))
        for dtype in ("float32", policy)
    )
    np.testing.assert_array_equal(half, full)


def test_latency_is_one_computation_however_many_timesteps():
    few, many = (operations(LatencyEncoder(t), BYTES) for t in (3, 50))
    assert few == many > 0


def test_the_code_of_an_image_does_not_depend_on_its_batch():
    encoder = LatencyEncoder(20, "logarithmic")
    images = (BYTES / 255).astype("float32")
    alone = np.concatenate([to_numpy(encoder(x[None])) for x in images])
    np.testing.assert_array_equal(alone, to_numpy(encoder(images)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"mode": "log"}, ValueError, "`mode` must be one of .*mode='log'"),
        ({"tau": 0}, ValueError, "`tau` must be above 0. Received: tau=0"),
        ({"tau": "1"}, TypeError, "`tau` must be a number above 0. .*='1'"),
        ({"threshold": 0}, ValueError, r"must be in \(0, 1\]. .*threshold=0"),
        ({"threshold": 1.5}, ValueError, r"in \(0, 1\]. .*threshold=1.5"),
    ],
    ids=str,
)
def test_impossible_latencies_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        LatencyEncoder(3, **change)


SNNTORCH = """
from snntorch import spikegen
images = torch.tensor(arguments[0]) / 255
options = dict(threshold=0.01, clip=True)
results = {
    "linear": spikegen.latency(
        images, num_steps=20, normalize=True, linear=True, **options),
    "logarithmic": spikegen.latency(
        images, num_steps=20, tau=10.0, bypass=True, **options),
    # No byte is below the threshold, so the darkest one sets the scale.
    "scaled": spikegen.latency(
        images[3:], num_steps=20, normalize=True, **options),
}
results = {name: x.tolist() for name, x in results.items()}
"""


@needs_torch
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("snntorch") is None, reason="needs snnTorch"
)
def test_latencies_are_those_of_snntorch():
    images = np.arange(256, dtype="uint8")
    theirs = in_torch(SNNTORCH, images.tolist())
    ours = {
        "linear": LatencyEncoder(20)(images[None]),
        "logarithmic": LatencyEncoder(20, "logarithmic", 10.0)(images[None]),
        "scaled": LatencyEncoder(20, "logarithmic")(images[None, 3:]),
    }
    for name, spikes in ours.items():
        np.testing.assert_array_equal(to_numpy(spikes)[0], theirs[name], name)
