import keras
import numpy as np
import pytest
from backend import to_numpy
from keras import ops

from keras_snn.optimizers import ASGD


@pytest.mark.parametrize("name", ["lambd", "alpha", "t0"])
def test_negative_arguments_are_refused(name):
    message = rf"`{name}` must be in \[0, inf\). .*{name}=-1"
    with pytest.raises(ValueError, match=message):
        ASGD(0.1, **{name: -1})


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_numpy_scalars_are_stored_as_floats(kind):
    names = ("learning_rate", "lambd", "alpha", "t0")
    config = ASGD(**{name: kind(1) for name in names}).get_config()
    assert all(type(config[name]) is float for name in names)
    assert {config[name] for name in names} == {1.0}


def test_a_second_average_is_refused():
    with pytest.raises(ValueError, match="`use_ema` must be False, because"):
        ASGD(0.1, use_ema=True)


def test_defaults_are_those_of_torch():
    defaults = {"learning_rate": 0.01, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6}
    config = ASGD().get_config()
    # Keras stores the rate as float32.
    rate = config.pop("learning_rate")
    assert rate == pytest.approx(defaults.pop("learning_rate"), rel=1e-7)
    assert defaults.items() <= config.items()


def test_variables_come_in_any_order_or_from_build():
    x, y = keras.Variable([1.0]), keras.Variable([2.0])
    optimizer = ASGD(0.5, lambd=0.0, t0=0)
    optimizer.build([x, y])
    for arguments in (([None, ops.ones(1)], [y, x]), ([ops.ones(1), None],)):
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            optimizer.apply(*arguments)
    optimizer.finalize_variable_values([x, y])
    assert to_numpy(x).tolist() == [0.0]  # that of iteration 1 alone
    assert to_numpy(y).tolist() == [2.0]


def test_a_gradient_too_few_is_refused():
    x, y = keras.Variable([1.0]), keras.Variable([2.0])
    with pytest.raises(ValueError, match="longer"):
        ASGD(0.5).apply([ops.ones(1)], [x, y])
