import inspect
import re

import catalogue
import keras
import numpy as np
import pytest
from backend import to_numpy
from catalogue import INITIALIZERS, LAYERS, OPTIMIZERS, OTHERS, SURROGATES

import keras_snn
from keras_snn import encoders

ROWS = LAYERS + INITIALIZERS + SURROGATES + OPTIMIZERS
name_of = lambda row: row.cls.__name__  # noqa: E731
every_row = pytest.mark.parametrize("row", ROWS, ids=name_of)
every_layer = pytest.mark.parametrize("row", LAYERS, ids=name_of)


def arguments_of(cls):
    return [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def public_classes():
    for module in vars(keras_snn).values():
        for name, cls in (
            vars(module).items() if inspect.ismodule(module) else ()
        ):
            own = getattr(cls, "__module__", None) == module.__name__
            if inspect.isclass(cls) and own and not name.startswith("_"):
                yield cls


def test_every_public_class_has_a_row():
    rows = {row.cls for row in ROWS} | OTHERS
    assert set(public_classes()) == rows


@every_row
def test_signature_config_and_documented_arguments_agree(row):
    signature = arguments_of(row.cls)
    assert sorted(row.arguments) == sorted(signature), "the row is incomplete"
    config = row.cls(**row.arguments).get_config()
    assert set(signature) <= set(config)
    section = re.search(r"Args:\n(.*?)\n\n", row.cls.__doc__ + "\n\n", re.S)
    documented = re.findall(r"^ {8}(\w+): ", section.group(1), re.M)
    assert documented == signature


@every_row
def test_config_brings_back_an_equal_object(row):
    made = row.cls(**row.arguments)
    config = keras.saving.serialize_keras_object(made)
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert type(again) is row.cls
    assert again.get_config() == made.get_config()


def network(row):
    inputs = keras.Input(batch_shape=row.input_shape)
    x = row.wrap(row.cls(**row.arguments))(inputs)
    x = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    return keras.Model(inputs, x)


def inputs_of(row):
    rng = np.random.default_rng(0)
    return rng.random(row.input_shape).astype("float32")


@every_layer
def test_a_model_with_it_trains_saves_and_loads(row, tmp_path):
    model = network(row)
    model.compile("sgd", "mse")
    x = inputs_of(row)
    model.fit(x, np.ones((4, 2)), batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    if row.cls is encoders.PoissonEncoder:
        return  # Keras saves no generator's state: the spikes are fresh ones
    prediction = model.predict(x, batch_size=4, verbose=0)
    np.testing.assert_array_equal(
        loaded.predict(x, batch_size=4, verbose=0), prediction
    )


@every_layer
def test_announced_shape_is_the_shape(row):
    layer = row.wrap(row.cls(**row.arguments))
    announced = layer(keras.Input(batch_shape=row.input_shape)).shape
    assert tuple(layer(inputs_of(row)).shape) == tuple(announced)


@every_layer
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_goes_in_and_out(row, policy):
    row_arguments = row.arguments
    if "layer" in row_arguments:  # the wrapped layer has a policy of its own
        row_arguments = {"layer": keras.layers.Conv2D(2, 3, dtype=policy)}
    layer = row.cls(**row_arguments, dtype=policy)
    if row.cls is keras_snn.layers.LIFRNNCell:
        layer = keras.layers.RNN(layer, return_sequences=True, dtype=policy)
    output = layer(inputs_of(row))
    expected = keras.DTypePolicy(policy).compute_dtype
    assert keras.backend.standardize_dtype(output.dtype) == expected


def test_the_neuron_of_the_rows_is_not_the_default():
    # A lost argument would come back as its default and go unnoticed.
    defaults = inspect.signature(keras_snn.layers.LIF).parameters
    for name, value in catalogue.NEURON.items():
        assert defaults[name].default != value
