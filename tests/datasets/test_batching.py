"""The order of batches depends on the seed and the epoch alone."""

import random
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn.datasets import batches

SAMPLES, SIZE = 23, 4  # six batches, the last of three samples


class Recorder(keras.layers.Layer):
    """Passes its input on and keeps the ids of the training samples."""

    def __init__(self):
        super().__init__()
        self.seen = self.add_weight(
            shape=(400,), initializer="zeros", trainable=False
        )
        self.place = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, inputs, training=False):
        if training:
            ids = ops.cast(inputs[:, 0], "float32") + 1
            room = ops.arange(400)
            first = ops.convert_to_tensor(self.place)
            count = ops.shape(ids)[0]
            inside = (room >= first) & (room < first + count)
            taken = ops.take(ids, ops.clip(room - first, 0, count - 1))
            self.seen.assign(
                ops.where(inside, taken, ops.convert_to_tensor(self.seen))
            )
            self.place.assign(first + count)
        return ops.cast(inputs, "float32")


def recorded(recorder):
    """Returns the ids of the samples in the order of training."""
    seen = ops.convert_to_numpy(recorder.seen)
    return [int(each) - 1 for each in seen if each]


def network(built=True):
    recorder = Recorder()
    model = keras.Sequential([recorder, keras.layers.Dense(1)])
    if built:
        model.build((None, 1))
    model.compile("sgd", "mse", metrics=["mae"])
    return model, recorder


def data(**arguments):
    x = np.arange(SAMPLES, dtype="float32")[:, None]
    return batches(x, x, SIZE, **arguments)


def expected(epoch, seed=0, samples=SAMPLES):
    """Returns the order that the docstring promises."""
    if samples <= SIZE:
        return list(range(samples))
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    return order.tolist()


def fitted(dataset, epochs=1, built=True, **arguments):
    model, recorder = network(built)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about `steps_per_epoch`
        model.fit(
            dataset,
            epochs=epochs,
            **{"verbose": 0, "shuffle": False},
            **arguments,
        )
    return recorded(recorder)


def looped(dataset):
    return [int(each) for x, _ in dataset for each in x[:, 0]]


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
def test_fit_sees_each_epoch_in_its_order(built):
    # Keras looks at a batch to build a model that is not built yet.
    seen = fitted(data(seed=3), epochs=3, built=built)
    assert seen == expected(0, 3) + expected(1, 3) + expected(2, 3)


def test_keras_shuffles_whole_batches_of_the_same_epochs():
    model, recorder = network()
    x = np.arange(24, dtype="float32")[:, None]
    model.fit(batches(x, x, SIZE), epochs=2, verbose=0, shuffle=True)
    seen = np.reshape(recorded(recorder), (2, 6, SIZE)).tolist()
    for epoch in range(2):
        order = np.reshape(expected(epoch, samples=24), (6, SIZE)).tolist()
        assert sorted(seen[epoch]) == sorted(order)


def test_epochs_differ_and_so_do_seeds():
    orders = [expected(0), expected(1), expected(0, seed=1)]
    found = data()
    assert looped(found) == orders[0]
    assert looped(found) == orders[1]
    assert looped(data(seed=1)) == orders[2]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert sorted(orders[1]) == list(range(SAMPLES))


def test_an_index_is_a_batch_of_the_current_epoch():
    dataset, order = data(first_epoch=2), expected(2)
    for index in (5, 0, 3, 3):
        x, y = dataset[index]
        assert x[:, 0].tolist() == order[SIZE * index :][:SIZE]
        np.testing.assert_array_equal(x, y)


def test_asking_for_batches_starts_no_epoch():
    dataset = data()
    for _ in range(20):
        dataset[1]
    dataset.on_epoch_end()  # as Keras does before training
    assert looped(dataset) == expected(0)


def test_a_resumed_run_sees_the_batches_of_the_uninterrupted_run():
    whole = fitted(data(), epochs=4, built=False)
    random.seed(99)  # Keras shuffles with this generator
    resumed = fitted(data(first_epoch=2), epochs=4, initial_epoch=2)
    assert resumed == whole[2 * SAMPLES :]


def test_a_second_fit_continues_with_the_next_epoch():
    dataset = data()
    assert fitted(dataset, epochs=2) == expected(0) + expected(1)
    assert fitted(dataset, epochs=1) == expected(2)


def test_validation_data_do_not_change_the_order():
    x = np.zeros((9, 1), "float32")
    other = batches(x, x, 2, shuffle=False)
    seen = fitted(data(), epochs=3, validation_data=other)
    assert seen == expected(0) + expected(1) + expected(2)


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize("samples", [1, 3, 4, 5, 8, 9])
def test_few_batches_are_no_exception(samples, built):
    # Keras looks at one or two batches before it begins.
    x = np.arange(samples, dtype="float32")[:, None]
    seen = fitted(batches(x, x, SIZE), epochs=3, built=built)
    wanted = [each for e in range(3) for each in expected(e, samples=samples)]
    assert seen == wanted


def test_an_unfinished_loop_starts_over():
    dataset = data()
    x, _ = next(iter(dataset))
    assert x[:, 0].tolist() == expected(0)[:SIZE]
    assert looped(dataset) == expected(0)
    assert looped(dataset) == expected(1)


def test_without_shuffling_samples_keep_their_order():
    dataset = data(shuffle=False)
    assert fitted(dataset, epochs=2) == 2 * list(range(SAMPLES))
    assert looped(dataset) == list(range(SAMPLES))


def test_steps_per_epoch_leave_no_sample_out():
    # Three Keras epochs of two steps are one pass over the data.
    seen = fitted(data(), epochs=3, steps_per_epoch=2)
    assert seen == expected(0)


def test_predict_and_evaluate_keep_the_samples_order(rng):
    x = rng.normal(size=(SAMPLES, 1)).astype("float32")
    y = rng.normal(size=(SAMPLES, 1)).astype("float32")
    model, _ = network()
    plain = model.predict(x, batch_size=SIZE, verbose=0)
    for given in (
        batches(x, batch_size=SIZE, shuffle=False),
        batches(x, y, SIZE, shuffle=False),
    ):
        for _ in range(2):
            found = model.predict(given, verbose=0)
            # The memory layout of a batch may change the last bit.
            np.testing.assert_allclose(found, plain, rtol=1e-6)
    loss, _ = model.evaluate(batches(x, y, SIZE), verbose=0)
    assert loss == pytest.approx(np.mean((plain - y) ** 2), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "comes"),
    [
        ("uint8", "uint8"),
        ("uint16", "int32"),
        ("uint32", "int64"),
        ("int64", "int64"),
        ("float32", "float32"),
    ],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_mapped_files_feed_every_backend(given, comes, shuffle, tmp_path):
    largest = min(2**24, np.iinfo(given).max if given != "float32" else 9)
    x = np.array([[0], [1], [largest], [5], [7]], given)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    dataset = batches(mapped, np.arange(5), 2, shuffle=shuffle)
    for batch, labels in dataset:
        assert type(batch) is np.ndarray
        assert batch.dtype == comes
        assert batch.flags.writeable
        assert not np.shares_memory(batch, mapped)
        np.testing.assert_array_equal(batch, x[labels])
    model = keras.Sequential([keras.Input((1,)), keras.layers.ReLU()])
    found = model.predict(batches(mapped, None, 2, shuffle=False), verbose=0)
    np.testing.assert_array_equal(found, x.astype("float32"))


def test_mapped_files_are_read_batch_by_batch():
    class Rows:
        """Stands for a file and records the rows of each read."""

        shape, asked = (1000, 1), []

        def __len__(self):
            return 1000

        def __getitem__(self, rows):
            self.asked.append(len(rows))
            return np.zeros((len(rows), 1))

    rows = Rows()
    assert len(list(batches(rows, batch_size=64))) == 16
    assert rows.asked == 15 * [64] + [40]


def test_a_remainder_may_be_dropped():
    dataset = data(drop_remainder=True)
    assert len(dataset) == SAMPLES // SIZE == 5
    assert looped(dataset) == expected(0)[:20]
    assert fitted(data(drop_remainder=True), epochs=2) == (
        expected(0)[:20] + expected(1)[:20]
    )
    assert len(data()) == 6
    assert len(batches(np.zeros(8), batch_size=4)) == 2


@pytest.mark.parametrize("index", [6, -1])
def test_an_index_outside_the_epoch_is_refused(index):
    with pytest.raises(IndexError):
        data()[index]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"first_epoch": -1}, "`first_epoch` must be at least 0"),
        ({"y": np.zeros(4)}, "same length. Received: 5 and 4 samples"),
        ({"batch_size": 6, "drop_remainder": True}, "enough samples"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, why):
    with pytest.raises(ValueError, match=why):
        batches(np.zeros(5), **arguments)


def test_empty_arrays_are_refused():
    with pytest.raises(ValueError, match="Received: 0 samples"):
        batches(np.zeros((0, 3)))


@pytest.mark.parametrize("seed", [None, True, 0.5])
def test_seeds_of_other_types_are_refused(seed):
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        batches(np.zeros(5), seed=seed)


def test_lists_become_arrays():
    (x, y), _ = batches([1, 2, 3], (4, 5, 6), 2, shuffle=False)
    assert (x.tolist(), y.tolist()) == ([1, 2], [4, 5])


@pytest.mark.parametrize("name", ["shuffle", "drop_remainder"])
def test_flags_must_be_booleans(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: .*no"):
        batches(np.arange(3), **{name: "no"})
