import functools
import inspect
import json
import re

import keras
import numpy as np
import pytest
from backend import to_numpy
from catalogue import NEURON, OTHERS, ROWS

import keras_snn
from keras_snn import encoders, surrogates
from keras_snn.models import one_timestep

every_row = pytest.mark.parametrize(
    "row", ROWS, ids=[row.cls.__name__ for row in ROWS]
)
every_layer = pytest.mark.parametrize(
    "row",
    [row for row in ROWS if issubclass(row.cls, keras.layers.Layer)],
    ids=lambda row: row.cls.__name__,
)


def arguments_of(cls):
    of_every_layer = inspect.signature(keras.layers.Layer).parameters
    return [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and name not in of_every_layer
    ]


def inputs_of(row):
    x = np.random.default_rng(0).random(row.input_shape).astype("float32")
    return np.round(x) if "spikes" in row.arguments else x


def test_every_public_class_has_a_row():
    classes = set()
    for name in keras_snn.__all__:
        module = getattr(keras_snn, name)
        if not inspect.ismodule(module):
            continue
        public = [getattr(module, each) for each in module.__all__]
        classes |= {each for each in public if inspect.isclass(each)}
    assert classes == {row.cls for row in ROWS} | OTHERS


def test_every_registered_class_has_a_row():
    rows = {row.cls for row in ROWS} | OTHERS
    # Layers inside a `StepModel`.
    inside = [getattr(one_timestep, x) for x in one_timestep.__all__]
    rows |= set(filter(inspect.isclass, inside))
    for cls in keras.saving.get_custom_objects().values():
        assert cls in rows or not cls.__module__.startswith("keras_snn.")


@every_row
def test_signature_config_and_documented_arguments_agree(row):
    signature = arguments_of(row.cls)
    config = row.make().get_config()
    # A row may also give arguments that the class passes on.
    assert set(signature) <= row.arguments.keys(), "the row is incomplete"
    assert row.arguments.keys() <= config.keys()
    section = re.search(r" Args:\n(.*?)\n\n", row.cls.__doc__ + "\n\n", re.S)
    text = section.group(1) if section else ""
    assert re.findall(r"^ {8}(\w+): ", text, re.M) == signature


@every_row
def test_config_brings_back_an_equal_object(row):
    made = row.make()
    text = json.dumps(keras.saving.serialize_keras_object(made))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is row.cls
    assert again.get_config() == made.get_config()


@every_row
def test_numpy_scalars_become_plain_numbers(row):
    # The rows have binary fractions, which float32 keeps.
    kinds = {float: np.float32, int: np.int64}
    scalars = {
        name: kinds[type(value)](value)
        for name, value in row.arguments.items()
        if type(value) in kinds
    }
    if not scalars:
        pytest.skip("no numbers among the arguments")
    config = row.make(**scalars).get_config()
    for name, value in scalars.items():
        assert config[name] == value
        assert type(config[name]) in kinds


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.cls.__name__)
def used(request):
    """A row, its network after training, and a list with an item per call.

    Calls are those of the method that a training step runs, if there is one.
    """
    row, calls = request.param, []
    with pytest.MonkeyPatch.context() as patch:
        methods = ["call", "update_step", "update_state", "derivative"]
        if issubclass(row.cls, keras.regularizers.Regularizer):
            methods.append("__call__")
        for method in methods:
            original = getattr(row.cls, method, None)
            if original:
                counted = counting(original, calls)
                patch.setattr(row.cls, method, counted)
        model = row.network()
        use(row, model)
        yield row, model, calls


def counting(function, calls):
    @functools.wraps(function)
    def counted(*args, **kwargs):
        calls.append(function)
        return function(*args, **kwargs)

    return counted


def use(row, model):
    x, y = inputs_of(row), np.ones(row.target_shape)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    return model.predict(x, batch_size=4, verbose=0)


def test_a_file_brings_back_the_network(used, tmp_path):
    row, model, _ = used
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.to_json() == model.to_json()
    assert loaded.get_compile_config() == model.get_compile_config()
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    if row.cls is encoders.PoissonEncoder:
        return  # Keras does not save the state of a generator.
    x = inputs_of(row)
    np.testing.assert_array_equal(
        loaded.predict(x, batch_size=4, verbose=0),
        model.predict(x, batch_size=4, verbose=0),
    )


def test_it_trains(used):
    row, model, _ = used
    before = [to_numpy(weight) for weight in model.trainable_weights]
    use(row, model)
    after = [to_numpy(weight) for weight in model.trainable_weights]
    assert all(np.isfinite(weight).all() for weight in after)
    assert all((x != y).any() for x, y in zip(before, after, strict=True))


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="PyTorch does not trace"
)
def test_a_second_call_does_not_trace_again(used):
    row, model, calls = used
    if issubclass(row.cls, keras.initializers.Initializer):
        pytest.skip("a training step draws no weights")
    before = len(calls)
    # Neurons of one kind share a program, which an earlier test may have made.
    assert before or issubclass(row.cls, surrogates.Surrogate)
    use(row, model)
    assert len(calls) == before


@every_layer
def test_announced_shape_is_the_shape(row):
    layer = row.layer(row.make())
    announced = layer(keras.Input(batch_shape=row.input_shape)).shape
    assert tuple(layer(inputs_of(row)).shape) == tuple(announced)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def half_precision(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield keras.DTypePolicy(request.param).compute_dtype
    keras.config.set_dtype_policy(before)


@every_row
def test_half_precision_goes_in_and_out(row, half_precision):
    output = row.layer(row.make())(inputs_of(row))
    assert keras.backend.standardize_dtype(output.dtype) == half_precision
    assert np.isfinite(to_numpy(output)).all()


def test_the_neuron_of_the_rows_is_not_the_default():
    # A lost argument would come back as its default and go unnoticed.
    defaults = inspect.signature(keras_snn.layers.LIF).parameters
    for name, value in NEURON.items():
        assert defaults[name].default != value
