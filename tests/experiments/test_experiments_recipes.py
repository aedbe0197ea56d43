"""The recipes against Tables A4, A5 and A8."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
from backend import in_torch, needs_torch

from experiments import recipes
from keras_snn import datasets, events
from keras_snn.layers import LIF
from keras_snn.surrogates import Sigmoid

# Table A4: epochs, batch size, schedule and network.
COLUMNS = {
    "mnist-constant": (50, 32, "cosine", "five_layer_snn"),
    "mnist-poisson": (50, 32, "cosine", "five_layer_snn"),
    "mnist-retina": (50, 32, "cosine", "five_layer_snn"),
    "nmnist": (50, 32, "cosine", "five_layer_snn"),
    "cifar10-constant": (150, 32, "multistep", "vgg9_snn"),
    "cifar10-poisson": (150, 32, "multistep", "vgg9_snn"),
    "cifar10-retina": (150, 32, "multistep", "vgg9_snn"),
    "cifar10-dvs": (150, 16, "multistep", "vgg9_dvs_snn"),
    "mnist-analysis": (3, 64, "constant", "five_layer_snn"),
}
# Frames of N-MNIST are the central 32x32 pixels (Table A4).
SIZES = {"nmnist": (32, 32, 2)}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_table_a4(name):
    recipe = recipes.get(name)
    training, network = recipe.training, recipe.network
    epochs, batch, schedule, builder = COLUMNS[name]
    assert (training.epochs, training.batch_size) == (epochs, batch)
    assert (training.schedule, network["name"]) == (schedule, builder)
    assert [network[x] for x in ("k", "lam", "theta")] == [0.8, 0.2, 1.0]
    assert (network["surrogate"], network["timesteps"]) == ("arctan", 20)
    assert (training.optimizer, training.learning_rate) == ("adam", None)
    assert network["initializer"] == "asymptote"
    dataset, _, coding = name.partition("-")
    recordings = dataset == "nmnist" or coding == "dvs"
    if coding != "analysis":
        assert network["encoder"] == (None if recordings else coding)
    crop = [32, 32] if dataset == "nmnist" else None
    assert recipe.data.get("crop") == crop


def test_the_analysis_takes_2811_iterations():
    recipe = recipes.get("mnist-analysis")
    x = np.zeros((60000, 1), "uint8")
    assert recipe.training.epochs * len(recipe.batches(x, x[:, 0])) == 2811


def test_seed_and_epoch_determine_the_batches():
    recipe = recipes.get("digits-poisson").vary({"seed": 3})
    x = np.arange(70, dtype="uint8")
    first, *_ = recipe.batches(x, x, first_epoch=2)
    again, *_ = datasets.batches(x, x, 32, seed=3, first_epoch=2)
    np.testing.assert_array_equal(first[0], again[0])


def schedule_of(optimizer):
    return keras.optimizers.schedules.deserialize(
        optimizer.get_config()["learning_rate"]
    )


def values(schedule, steps):
    return [float(keras.ops.convert_to_numpy(schedule(n))) for n in steps]


def test_cosine_reaches_zero_after_all_epochs():
    training = recipes.Training(epochs=4)
    schedule = schedule_of(training.build_optimizer(5))
    expected = [5e-4 * (1 + math.cos(math.pi * n / 20)) for n in range(21)]
    found = values(schedule, range(21))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_cosine_by_epochs_is_constant_within_an_epoch():
    training = recipes.Training(epochs=4, schedule="cosine-epochs")
    schedule = schedule_of(training.build_optimizer(5))
    expected = [
        5e-4 * (1 + math.cos(math.pi * (n // 5) / 4)) for n in range(20)
    ]
    found = values(schedule, range(20))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_cosine_by_epochs_has_one_rate_for_one_epoch():
    training = recipes.Training(epochs=1, schedule="cosine-epochs")
    config = training.build_optimizer(5).get_config()
    assert config["learning_rate"] == pytest.approx(1e-3)


def test_multistep_divides_by_ten_at_epochs_50_90_and_130():
    training = recipes.get("cifar10-poisson").training
    schedule = schedule_of(training.build_optimizer(7))
    epochs = [0, 49, 50, 89, 90, 129, 130, 149]
    powers = [0, 0, 1, 1, 2, 2, 3, 3]
    for iteration in (0, 6):  # the first and the last of the epoch
        found = values(schedule, [7 * epoch + iteration for epoch in epochs])
        np.testing.assert_allclose(found, [1e-3 / 10**n for n in powers])


# Table A5.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adam", {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.99}),
        ("sgd", {"learning_rate": 0.5, "momentum": 0.9, "nesterov": False}),
        ("asgd", {"learning_rate": 2.0, "lambd": 1e-6, "alpha": 0.75}),
        ("adagrad", {"learning_rate": 1e-2}),
    ],
)
def test_optimizers_of_table_a5(name, expected):
    training = recipes.Training(optimizer=name, schedule="constant")
    optimizer = training.build_optimizer(1)
    config = optimizer.get_config()
    assert type(optimizer).__name__.lower() == name
    assert {x: config[x] for x in expected} == pytest.approx(expected, rel=1e-6)
    other = dataclasses.replace(training, learning_rate=0.25)
    assert other.build_optimizer(1).get_config()["learning_rate"] == 0.25


@pytest.mark.slow
@needs_torch
def test_adagrad_is_that_of_pytorch():
    gradients = np.array([[1e-4, 1.0], [-2e-4, 0.5], [1e-3, 0.0]])
    expected = in_torch(
        """
w = torch.zeros(2, requires_grad=True)
optimizer = torch.optim.Adagrad([w], lr=1e-2)
results = []
for gradient in arguments[0]:
    w.grad = torch.tensor(gradient)
    optimizer.step()
    results.append(w.tolist())
""",
        gradients.tolist(),
    )
    training = recipes.Training(optimizer="adagrad", schedule="constant")
    optimizer, w = training.build_optimizer(1), keras.Variable(np.zeros(2))
    for gradient, row in zip(gradients, expected, strict=True):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [w])
        found = keras.ops.convert_to_numpy(w)
        np.testing.assert_allclose(found, row, rtol=1e-5)


def neurons(model):
    return [layer for layer in model.layers if isinstance(layer, LIF)]


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_builds_its_network(name):
    changes = {"network.timesteps": 2, "network.width": 1 / 32}
    recipe = recipes.get(name).vary(changes)
    dataset, network = recipe.data["name"], recipe.network
    shape = SIZES.get(dataset, datasets.INFO[dataset].shape)
    model = recipe.build(shape, 3)
    # Of 32, 128 or 64 channels.
    first = {"five_layer_snn": 1, "vgg9_snn": 4}.get(network["name"], 2)
    assert model.get_weights()[0].shape == (3, 3, shape[-1], first)
    assert model.output_shape == (None, datasets.INFO[dataset].classes)
    time = () if network["encoder"] else (2,)
    assert model.input_shape == (None, *time, *shape)
    for layer in neurons(model):
        constants = (layer.k, layer.lam, layer.theta)
        assert constants == (network["k"], network["lam"], network["theta"])
        assert layer.surrogate.a == 2.0
    kinds = [type(layer).__name__ for layer in model.layers]
    # Table A8 has dropout in VGG11 for CIFAR-100, and none beside BNTT.
    drops = {"vgg9_snn": 1, "vgg9_dvs_snn": 2, "vgg11_snn": 1}
    drops = drops.get(network["name"], 0)
    if dataset == "tiny_imagenet" or name.endswith("bntt"):
        drops = 0
    assert kinds.count("Dropout") == drops
    assert ("BNTT" in kinds) == name.endswith("bntt")
    assert ("PoissonEncoder" in kinds) == (network["encoder"] == "poisson")


def test_options_reach_the_network():
    recipe = recipes.get("mnist-poisson").vary(
        {
            "network.name": "vgg9_snn",
            "network.theta": 0.5,
            "network.a": 0.5,
            "network.surrogate": "sigmoid",
            "network.pooling": "max",
            "network.normalization": "tdbn",
            "network.dropout": 0.25,
            "network.width": 1 / 64,
            "network.initializer": "he",
            "network.timesteps": 2,
        }
    )
    model = recipe.build((8, 8, 1), 1)
    assert [x.surrogate for x in neurons(model)] == [Sigmoid(0.5)] * 8
    assert {x.theta for x in neurons(model)} == {0.5}
    config = json.dumps(model.get_config())
    for word in ("MaxPooling2D", "TDBN", "HeNormal", '"rate": 0.25'):
        assert word in config
    assert model.count_params() < 1e5  # the width
    again = recipe.build((8, 8, 1), 1)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = recipe.vary({"seed": 1}).build((8, 8, 1), 1)
    assert np.any(other.get_weights()[0] != model.get_weights()[0])


@pytest.mark.parametrize("kind", ["batch", "bntt", "tdbn"])
def test_a_normalization_starts_as_published_or_as_in_the_builders(kind):
    changes = {"network.name": "sequential_snn", "network.layout": "C2 P FC3"}
    published = recipes.get("digits-poisson").vary(
        changes | {"network.normalization": kind}
    )
    scales = []
    for recipe in (published, published.vary({"network.start": "neuron"})):
        model = recipe.build((8, 8, 1), 1)
        found = [x for x in model.layers if hasattr(x, "gamma")]
        assert len(found) == 2
        scales.append(np.ravel(found[0].gamma))
    np.testing.assert_array_equal(scales[0], 1)
    # sqrt(2) theta / lam, of which the layer tdBN itself applies theta / lam.
    expected = np.sqrt(2) * (1 if kind == "tdbn" else 5)
    np.testing.assert_allclose(scales[1], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="`network.start` must be one of"):
        published.vary({"network.start": "best"}).build((8, 8, 1), 1)


def test_a_network_needs_no_builder_of_its_own():
    changes = {"network.name": "sequential_snn", "network.layout": "C2 P FC3"}
    model = recipes.get("digits-poisson").vary(changes).build((8, 8, 1), 1)
    assert [x.name for x in neurons(model)] == ["lif1", "lif2"]


def test_options_of_recordings_reach_the_data(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load", lambda *x, **y: asked.append((x, y)))
    nmnist = recipes.get("nmnist")
    nmnist.vary({"data.by": "time", "network.timesteps": 7}).load("folder")
    recipes.get("cifar10-dvs").vary({"data.downsample": 2}).load()
    recipes.get("cifar10-poisson").load("folder")
    assert asked == [
        (
            ("nmnist", "folder"),
            {"timesteps": 7, "by": "time", "crop": [32, 32]},
        ),
        (("cifar10_dvs", None), {"timesteps": 20, "downsample": 2}),
        (("cifar10", "folder"), {}),
    ]


def test_recordings_arrive_cropped(tmp_path, monkeypatch):
    # One event per class and split, in the middle of the sensor.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    event = np.zeros(1, events.DTYPE)
    event["x"] = event["y"] = 17
    for split in ("Train", "Test"):
        for digit in range(10):
            path = tmp_path / "nmnist" / split / str(digit) / "1.bin"
            path.parent.mkdir(parents=True)
            events.write(path, event)
    recipe = recipes.get("nmnist").vary({"network.timesteps": 2})
    (x, _), _ = recipe.load(tmp_path / "nmnist")
    assert x.shape == (10, 2, *SIZES["nmnist"])
    np.testing.assert_array_equal(x[:, :, 16, 16].sum((1, 2)), 1)


def test_recipes_survive_json():
    for recipe in recipes.RECIPES.values():
        fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
        assert recipes.Recipe.from_dict(fields) == recipe
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 1


def test_a_key_leaves_out_what_does_not_matter():
    def key(**changes):
        changes = {x.replace("_", ".", 1): y for x, y in changes.items()}
        return recipes.get("digits-poisson").vary(changes).key

    assert key() == key(training_epochs=77)  # the rate is constant
    cosine = {"training_schedule": "cosine"}
    assert key(**cosine) != key(**cosine, training_epochs=77)
    others = [
        {"seed": 1},
        {"network_initializer": "he"},
        {"network_theta": 2.0},
        {"network_a": 1.0},
    ]
    assert len({key(), *(key(**x) for x in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.name": "imagenet"}, "`data.name` must be one of 'digits'"),
        ({"network.name": "vgg16"}, "`network.name` must be one of 'five_"),
        ({"network.k": 1.5}, r"`k` must be in \(0, 1\]. Received: k=1.5"),
        ({"network.kk": 1.5}, "unexpected keyword argument 'kk'"),
        ({"training.optimizer": "lion"}, "`training.optimizer` must be one of"),
        ({"training.schedule": "linear"}, "`training.schedule` must be one of"),
        ({"training.loss": "mae"}, "`training.loss` must be one of"),
        ({"training.epochs": "3"}, "`training.epochs` must be an integer"),
        ({"training.batch_size": 0}, "`training.batch_size` must be at least"),
        ({"training.drop_remainder": 1}, "`training.drop_remainder` must be"),
        ({"training.learning_rate": "x"}, "`training.learning_rate` must be a"),
        ({"training.epoch": 3}, "`field` must be one of 'seed', 'data.KEYW"),
        ({"seed": "x"}, "`seed` must be an integer of at least 0"),
        ({"epochs": 3}, "`field` must be one of 'seed', 'data.KEYWORD'"),
        ({"network": 3}, "`field` must be one of .* Received: field='network'"),
    ],
)
def test_bad_values_are_refused(changes, message):
    def use():
        recipe = recipes.get("digits-poisson").vary(changes)
        recipe.load()
        recipe.build((8, 8, 1), 1)

    with pytest.raises((TypeError, ValueError), match=message):
        use()


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="`recipe` must be one of 'mnist-con"):
        recipes.get("mnist")


def test_a_split_exchanges_samples_and_keeps_their_labels():
    recipe = recipes.get("digits-poisson")
    plain, split = recipe.load(), recipe.vary({"data.split": 0}).load()
    labels = {}
    for x, y in plain:
        labels |= dict(zip(map(bytes, x), y, strict=True))
    for (x, y), (old, _) in zip(split, plain, strict=True):
        assert len(x) == len(old)
        assert [labels[bytes(image)] for image in x] == list(y)
    test = set(map(bytes, split[1][0]))
    assert 0 < len(test & set(map(bytes, plain[1][0]))) < len(test)
