"""Fixtures and settings of all tests."""

import os
import tempfile

import hypothesis
import numpy as np
import pytest

# Hides the start-up messages of TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On CPUs without AVX-512, TensorFlow leaves oneDNN off by default, and then has
# no convolution with channels first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# On JAX, most of the time goes into compiling: tests, and processes that they
# start, share what is compiled. Workers do not, because JAX writes its files in
# place, where another could read half of one.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="keras-snn-tests-jax-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] += (
        f"/{os.environ['PYTEST_XDIST_WORKER']}"
    )

hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=30
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers_every_run():
    import keras  # only now, after the setting above

    keras.utils.set_random_seed(0)


@pytest.fixture
def double_precision():
    """Gives JAX float64, which the other backends always have."""
    import keras

    if keras.config.backend() != "jax":
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture
def few_images(rng, monkeypatch):
    """Makes `datasets.load` return 20 random images as CIFAR-10."""
    from keras_snn import datasets

    images = rng.integers(256, size=(20, 32, 32, 3)).astype("uint8")
    split = images, np.arange(20) % 10
    monkeypatch.setattr(datasets, "load", lambda *_, **__: (split, split))
