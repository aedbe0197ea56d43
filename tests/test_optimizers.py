import itertools

import keras
import numpy as np
import pytest
import reference
from backend import in_torch, needs_torch, to_numpy
from keras import ops

from keras_snn.optimizers import ASGD

STEPS = 60
# The weights are of order 1; float32 rounds once or twice per step.
CLOSE = {"rtol": 0, "atol": 1e-6}
SETTINGS = [
    {"lambd": 1e-4, "alpha": 0.75, "t0": 1e6},  # the defaults
    {"lambd": 1e-6, "alpha": 0.75, "t0": 1e6},  # the paper's (Table A5)
    {"lambd": 0.01, "alpha": 0.75, "t0": 20},
    {"lambd": 0.1, "alpha": 1.0, "t0": 0},
    {"lambd": 0.0, "alpha": 0.0, "t0": 40},
]
SCHEDULES = ["constant", "cosine", "multi-step"]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)


def schedule_of(name, rate=0.1):
    """A Keras schedule, and its rates as plain numbers."""
    t = np.arange(STEPS)
    if name == "cosine":
        return (
            keras.optimizers.schedules.CosineDecay(rate, STEPS),
            rate * (1 + np.cos(np.pi * t / STEPS)) / 2,
        )
    if name == "multi-step":
        # A tenth from iteration 20, a hundredth from iteration 40.
        return (
            keras.optimizers.schedules.PiecewiseConstantDecay(
                [19, 39], [rate, rate / 10, rate / 100]
            ),
            rate * 0.1 ** np.digitize(t, [20, 40]),
        )
    return rate, np.full(STEPS, rate)


def least_squares():
    """Inputs, targets, initial weights, and the gradient as a function."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    start = rng.normal(size=(4, 3)).astype("float32")
    return x, y, start, lambda w: x.T @ (x @ w - y) / 20


@pytest.fixture
def problem():
    *_, start, gradient = least_squares()
    return start, gradient


def step(optimizer, gradient, *variables):
    grads = [
        ops.convert_to_tensor(
            gradient(to_numpy(w).astype("float64")).astype("float32")
        )
        for w in variables
    ]
    optimizer.apply(grads, list(variables))


@pytest.fixture(
    scope="module", params=itertools.product(SETTINGS, SCHEDULES), ids=str
)
def run(request):
    """A setting, a schedule, the weights of each step, the final averages."""
    setting, schedule = request.param
    given, _ = schedule_of(schedule)
    *_, start, gradient = least_squares()
    optimizer, w, weights = ASGD(given, **setting), keras.Variable(start), []
    for _ in range(STEPS):
        step(optimizer, gradient, w)
        weights.append(to_numpy(w))
    return setting, schedule, weights, to_numpy(optimizer.averages[0])


def test_weights_and_averages_are_those_of_the_reference(problem, run):
    setting, schedule, weights, averages = run
    _, rates = schedule_of(schedule)
    expected_weights, expected = reference.asgd(*problem, rates, **setting)
    np.testing.assert_allclose(weights[-1], expected_weights, **CLOSE)
    np.testing.assert_allclose(averages, expected, **CLOSE)


TORCH = """
import numpy as np
from torch.optim import lr_scheduler as schedulers

x, y, start, settings, steps = arguments
x, y = np.array(x), np.array(y)
results = {}
for setting in settings:
    for name in ("constant", "cosine", "multi-step"):
        w = torch.tensor(start, dtype=torch.float32, requires_grad=True)
        optimizer = torch.optim.ASGD([w], 0.1, **setting)
        if name == "constant":
            scheduler = schedulers.ConstantLR(optimizer, factor=1.0)
        elif name == "cosine":
            scheduler = schedulers.CosineAnnealingLR(optimizer, steps)
        else:
            scheduler = schedulers.MultiStepLR(optimizer, [20, 40])
        weights = []
        for _ in range(steps):
            at = x.T @ (x @ w.detach().numpy().astype("float64") - y) / 20
            w.grad = torch.tensor(at, dtype=torch.float32)
            optimizer.step()
            scheduler.step()
            weights.append(w.tolist())
        averages = optimizer.state[w]["ax"].tolist()
        results[f"{name} {setting}"] = weights, averages
"""


@pytest.fixture(scope="module")
def torchs():
    x, y, start, _ = least_squares()
    problem = x.tolist(), y.tolist(), start.tolist()
    return in_torch(TORCH, *problem, SETTINGS, STEPS)


@needs_torch
def test_weights_and_averages_are_those_of_torch(torchs, run):
    setting, schedule, weights, averages = run
    their_weights, their_averages = torchs[f"{schedule} {setting}"]
    np.testing.assert_allclose(weights, their_weights, **CLOSE)
    np.testing.assert_allclose(averages, their_averages, **CLOSE)


def test_until_t0_the_average_is_the_weight_to_the_last_bit():
    w = keras.Variable([1e8])
    optimizer = ASGD(0.1, t0=20)
    optimizer.apply([ops.convert_to_tensor([0.3])], [w])
    w.assign([0.1])  # as when weights are loaded
    for _ in range(19):
        optimizer.apply([ops.convert_to_tensor([0.3])], [w])
        assert to_numpy(optimizer.averages[0]) == to_numpy(w)


def test_a_rate_that_is_set_acts_one_iteration_later(problem):
    setting = SETTINGS[2]
    optimizer = ASGD(0.1, **setting)
    start, gradient = problem
    w = keras.Variable(start)
    for t in range(6):
        if t == 3:
            optimizer.learning_rate = 0.01
        step(optimizer, gradient, w)
    rates = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    weights, _ = reference.asgd(*problem, rates, **setting)
    np.testing.assert_allclose(to_numpy(w), weights, **CLOSE)


def test_final_values_are_the_averages_of_each_variable(problem):
    start, gradient = problem
    x, y = keras.Variable(start), keras.Variable(2 * start)
    optimizer = ASGD(0.1, t0=2)
    for _ in range(10):
        step(optimizer, gradient, x, y)
    optimizer.finalize_variable_values([x, y])
    for variable, first in ((x, start), (y, 2 * start)):
        _, average = reference.asgd(
            first, gradient, [0.1] * 10, lambd=1e-4, alpha=0.75, t0=2
        )
        np.testing.assert_allclose(to_numpy(variable), average, **CLOSE)


def linear_model(optimizer, layer=None, **kwargs):
    layer = layer or keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(optimizer, "mse", **kwargs)
    return model


@pytest.fixture
def samples(rng):
    x, y = rng.normal(size=(2, 20, 4))
    return x.astype("float32"), y[:, :3].astype("float32")


def mse_gradient(x, y):
    x, y = x.astype("float64"), y.astype("float64")
    return lambda w: 2 * x.T @ (x @ w - y) / y.size


def check_that_it_works(model, x):
    """Uses every array of a model: none of them may be lost."""
    w = to_numpy(model.weights[0])
    # float32: sums of four products of order 1.
    np.testing.assert_allclose(
        model.predict(x, verbose=0), x @ w, rtol=0, atol=1e-6
    )
    variables = model.variables + model.optimizer.variables
    assert all(np.isfinite(to_numpy(v)).all() for v in variables)


def check_final_weights(model, samples, t0=3, runs=(12,)):
    """Twelve iterations must end with the averages of the reference."""
    start = to_numpy(model.weights[0])
    for epochs in runs:
        model.fit(*samples, epochs=epochs, batch_size=20, verbose=0)
        check_that_it_works(model, samples[0])
    weights, average = reference.asgd(
        start, mse_gradient(*samples), [0.1] * 12, 0.01, 0.75, t0
    )
    assert np.allclose(weights, average) == (t0 == 1e6)
    np.testing.assert_allclose(to_numpy(model.weights[0]), average, **CLOSE)


@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("t0", [3, 1e6])
def test_fit_ends_with_the_averages(samples, t0, jit_compile):
    if jit_compile and keras.config.backend() == "torch":
        pytest.skip("PyTorch's compiler warns and takes long")
    model = linear_model(ASGD(0.1, lambd=0.01, t0=t0), jit_compile=jit_compile)
    check_final_weights(model, samples, t0)
    np.testing.assert_array_equal(
        to_numpy(model.optimizer.averages[0]), to_numpy(model.weights[0])
    )


# JAX deletes the arrays of the variables that a training step updates.
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_model_outlives_fit(samples, run_eagerly, tmp_path):
    model = linear_model(ASGD(0.1, lambd=0.01), run_eagerly=run_eagerly)
    # Before `t0` there are no averages to start from, so two runs are one.
    check_final_weights(model, samples, t0=1e6, runs=(8, 4))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.fit(*samples, epochs=1, batch_size=20, verbose=0)
    check_that_it_works(loaded, samples[0])


class WithUnused(keras.layers.Dense):
    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight(shape=(2,), name="unused")


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_a_model_outlives_a_custom_loop(samples):
    layer = WithUnused(3, use_bias=False)
    model = linear_model(ASGD(0.1, lambd=0.0, t0=0), layer)
    unused = to_numpy(layer.unused)
    model.optimizer.apply([ops.ones((4, 3)), None], model.trainable_variables)
    for _ in range(2):
        model.fit(*samples, epochs=2, batch_size=20, verbose=0)
        check_that_it_works(model, samples[0])
    np.testing.assert_array_equal(to_numpy(layer.unused), unused)


@every_schedule
def test_a_resumed_run_is_the_uninterrupted_run(samples, schedule, tmp_path):
    given, _ = schedule_of(schedule)
    path = tmp_path / "model.keras"
    weights = {"whole": [], "rest": []}

    def fit(model, name, **kwargs):
        def on_epoch_end(epoch, logs):
            weights[name].append(to_numpy(model.weights[0]))
            if epoch == 9:
                model.save(path)

        callback = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
        kwargs |= {"batch_size": 20, "epochs": 20, "shuffle": False}
        model.fit(*samples, **kwargs, verbose=0, callbacks=[callback])

    model = linear_model(ASGD(given, lambd=0.01, t0=3))
    fit(model, "whole")
    loaded = keras.models.load_model(path)
    assert int(loaded.optimizer.iterations) == 10
    fit(loaded, "rest", initial_epoch=10)
    np.testing.assert_array_equal(weights["rest"], weights["whole"][10:])
    np.testing.assert_array_equal(
        to_numpy(loaded.weights[0]), to_numpy(model.weights[0])
    )
    # The averages differ from the weights, so the test can fail.
    assert not np.allclose(to_numpy(model.weights[0]), weights["whole"][-1])


@every_schedule
def test_a_saved_model_brings_back_the_optimizer(samples, schedule, tmp_path):
    given, _ = schedule_of(schedule)
    setting = {"lambd": 0.25, "alpha": 0.5, "t0": 2, "clipnorm": 1.5}
    model = linear_model(ASGD(given, **setting))
    model.fit(*samples, epochs=5, batch_size=20, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    config = loaded.optimizer.get_config()
    assert type(loaded.optimizer) is ASGD
    assert config == model.optimizer.get_config()
    assert {name: config[name] for name in setting} == setting
    for ours, theirs in zip(
        loaded.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))


def test_a_variable_without_gradients_keeps_its_value():
    x, y = keras.Variable([1.0]), keras.Variable([2.0])
    optimizer = ASGD(0.5, lambd=0.0, t0=0)
    for _ in range(3):
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            optimizer.apply([ops.ones(1), None], [x, y])
    optimizer.finalize_variable_values([x, y])
    assert to_numpy(x).tolist() == [(0.0 - 0.5) / 2]  # of 0.5, 0, -0.5
    assert to_numpy(y).tolist() == [2.0]


def test_what_keras_overwrites_with_its_gradient_has_no_average():
    x, scale = keras.Variable([1.0]), keras.Variable([2.0])
    scale.overwrite_with_gradient = True  # as the scales of float8
    optimizer = ASGD(0.5, lambd=0.0, t0=0)
    for _ in range(3):
        optimizer.apply([ops.ones(1), 3 * ops.ones(1)], [x, scale])
    optimizer.finalize_variable_values([x, scale])
    assert to_numpy(x).tolist() == [(0.0 - 0.5) / 2]  # of 0.5, 0, -0.5
    assert to_numpy(scale).tolist() == [3.0]


def test_final_values_before_the_first_step_are_the_first():
    w = keras.Variable([1.0, 2.0])
    optimizer = ASGD(0.5)
    optimizer.build([w])
    optimizer.finalize_variable_values([w])
    assert to_numpy(w).tolist() == [1.0, 2.0]


def test_accumulated_gradients_are_one_step(samples):
    x, y = samples
    setting = {"lambd": 0.01, "t0": 2}
    whole = linear_model(ASGD(0.1, **setting))
    parts = linear_model(ASGD(0.1, **setting, gradient_accumulation_steps=2))
    parts.set_weights(whole.get_weights())
    whole.fit(x, y, epochs=6, batch_size=20, verbose=0)
    parts.fit(x, y, epochs=6, batch_size=10, verbose=0, shuffle=False)
    np.testing.assert_allclose(
        to_numpy(parts.weights[0]), to_numpy(whole.weights[0]), **CLOSE
    )


def test_accumulated_gradients_keep_the_rate_of_the_last_iteration():
    # Keras's schedules count every call. With the gradients 1 and without
    # decay, `w` falls by the rate of the call that ended the last iteration.
    rates = keras.optimizers.schedules.PiecewiseConstantDecay(
        [0, 1, 2, 3, 4], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    )
    optimizer = ASGD(rates, lambd=0.0, gradient_accumulation_steps=2)
    w = keras.Variable([0.0])
    found = []
    for _ in range(6):
        optimizer.apply([keras.ops.ones(1)], [w])
        found.append(float(to_numpy(w)[0]))
    assert found == [0, -2, -2, -4, -4, -12]


def test_it_works_under_a_loss_scale(samples):
    scaled = keras.optimizers.LossScaleOptimizer(
        ASGD(0.1, lambd=0.01, t0=3), initial_scale=4.0
    )
    check_final_weights(linear_model(scaled), samples)


def test_sparse_gradients_of_an_embedding_are_those_of_a_dense_layer():
    tokens = np.array([[0], [2], [2], [1]])
    y = np.linspace(-1, 1, 8).reshape(4, 2)

    def trained(layer, x):
        model = keras.Sequential([layer, keras.layers.Flatten()])
        model.compile(ASGD(0.5, lambd=0.1, t0=2), "mse")
        model.fit(x, y, epochs=5, batch_size=4, verbose=0)
        return to_numpy(model.weights[0])

    kernel = {"embeddings_initializer": "ones"}
    sparse = trained(keras.layers.Embedding(5, 2, **kernel), tokens)
    kernel = {"kernel_initializer": "ones", "use_bias": False}
    dense = trained(keras.layers.Dense(2, **kernel), np.eye(5)[tokens[:, 0]])
    np.testing.assert_allclose(sparse, dense, **CLOSE)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's strategy"
)
def test_it_works_inside_a_strategy(samples):
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = linear_model(ASGD(0.1, lambd=0.01, t0=3))
    check_final_weights(model, samples)
