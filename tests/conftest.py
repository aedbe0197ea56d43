import os

import hypothesis
import numpy as np
import pytest

# Keras's and TensorFlow's start-up messages are not results.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=30
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers_every_run():
    import keras

    keras.utils.set_random_seed(0)
