import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn.layers import SumPooling2D


@pytest.mark.parametrize("side", [None, 7])
def test_squares_are_added_up(rng, side):
    x = rng.integers(0, 99, (2, 7, 7, 3)).astype("float32")
    inputs = keras.Input((side, side, 3))
    model = keras.Model(inputs, SumPooling2D((2, 3), (3, 2))(inputs))
    expected = [
        [x[:, i : i + 2, j : j + 3].sum((1, 2)) for j in (0, 2, 4)]
        for i in (0, 3)
    ]
    expected = np.moveaxis(np.array(expected), 2, 0)
    np.testing.assert_array_equal(to_numpy(model(x)), expected)
    assert model.compute_output_shape((2, 7, 7, 3)) == expected.shape


def test_squares_do_not_overlap_by_default():
    assert SumPooling2D(3).strides == (3, 3)


@pytest.mark.parametrize("shape", [(2, 3, 8, 1), (2, 8, 8)])
def test_images_smaller_than_a_square_are_refused(shape):
    with pytest.raises(ValueError, match=r"of at least \(4, 4\)"):
        SumPooling2D(4)(np.ones(shape))


def test_a_size_is_one_number_or_two():
    with pytest.raises(ValueError, match="`pool_size` must be an integer or a"):
        SumPooling2D((1, 2, 3))
