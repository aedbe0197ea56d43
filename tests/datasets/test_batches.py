"""Batches come in the order that seed and epoch decide, whoever asks."""

import random
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_snn.datasets import batches

SAMPLES, SIZE = 23, 4  # six batches, the last of three


class Recorder(keras.layers.Layer):
    """Passes on what it gets, having noted the samples of training batches."""

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
    """The numbers of the samples in the order of training."""
    seen = ops.convert_to_numpy(recorder.seen)
    return [int(each) - 1 for each in seen if each]


def network():
    recorder = Recorder()
    model = keras.Sequential(
        [keras.Input((1,)), recorder, keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse", metrics=["mae"])
    return model, recorder


def data(**arguments):
    x = np.arange(SAMPLES, dtype="float32")[:, None]
    return batches(x, x, SIZE, **arguments)


def expected(epoch, seed=0, samples=SAMPLES):
    """The documented law, in NumPy."""
    if samples <= SIZE:
        return list(range(samples))
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    return order.tolist()


def fitted(dataset, epochs=1, **arguments):
    model, recorder = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, on `steps_per_epoch`
        model.fit(dataset, epochs=epochs, verbose=0, **arguments)
    return recorded(recorder)


def looped(dataset):
    return [int(each) for x, _ in dataset for each in x[:, 0]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_sees_each_epoch_in_its_order(shuffle):
    seen = fitted(data(seed=3), epochs=3, shuffle=shuffle)
    assert seen == expected(0, 3) + expected(1, 3) + expected(2, 3)


def test_epochs_differ_and_so_do_seeds():
    orders = [expected(0), expected(1), expected(0, seed=1)]
    found = data()
    assert looped(found) == orders[0]
    assert looped(found) == orders[1]
    assert looped(data(seed=1)) == orders[2]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert sorted(orders[1]) == list(range(SAMPLES))


def test_a_resumed_run_sees_what_the_uninterrupted_one_did():
    whole = fitted(data(), epochs=4)
    random.seed(99)  # which decides what Keras itself would shuffle
    resumed = fitted(data(first_epoch=2), epochs=4, initial_epoch=2)
    assert resumed == whole[2 * SAMPLES :]


def test_a_second_fit_goes_on():
    dataset = data()
    assert fitted(dataset, epochs=2) == expected(0) + expected(1)
    assert fitted(dataset, epochs=1) == expected(2)


def test_validation_in_between_changes_nothing():
    x = np.zeros((9, 1), "float32")
    other = batches(x, x, 2, shuffle=False)
    seen = fitted(data(), epochs=3, validation_data=other)
    assert seen == expected(0) + expected(1) + expected(2)


@pytest.mark.parametrize("samples", [1, 3, 4, 5, 8, 9])
def test_few_batches_are_no_exception(samples):
    # Keras looks at one or two batches before it begins.
    x = np.arange(samples, dtype="float32")[:, None]
    seen = fitted(batches(x, x, SIZE), epochs=3)
    wanted = [each for e in range(3) for each in expected(e, samples=samples)]
    assert seen == wanted


def test_an_epoch_cut_short_begins_again():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            if batch == 2:
                self.model.stop_training = True

    dataset = data()
    cut = fitted(dataset, callbacks=[Stop()])
    assert cut == expected(0)[: 3 * SIZE]
    assert fitted(dataset, epochs=2) == expected(0) + expected(1)


def test_without_shuffling_the_order_is_the_samples():
    dataset = data(shuffle=False)
    assert fitted(dataset, epochs=2) == 2 * list(range(SAMPLES))
    assert looped(dataset) == list(range(SAMPLES))


def test_steps_per_epoch_leave_no_sample_out():
    # Two steps each: three of Keras's epochs are one of the data's.
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
            # One computation, if on batches of another memory layout.
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


def test_what_is_mapped_is_read_batch_by_batch():
    class Rows:
        """Stands for a file: knows which rows were asked for at once."""

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


def test_an_index_beyond_the_epoch_is_none():
    with pytest.raises(IndexError):
        data()[6]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"first_epoch": -1}, "`first_epoch` must be at least 0"),
        ({"y": np.zeros(4)}, "one length. Received: 5 and 4 samples"),
        ({"batch_size": 6, "drop_remainder": True}, "enough samples"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, why):
    with pytest.raises(ValueError, match=why):
        batches(np.zeros(5), **arguments)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="Received: 0 samples"):
        batches(np.zeros((0, 3)))


@pytest.mark.parametrize("seed", [None, True, 0.5])
def test_seeds_of_other_types_are_refused(seed):
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        batches(np.zeros(5), seed=seed)


def test_lists_are_arrays():
    (x, y), _ = batches([1, 2, 3], (4, 5, 6), 2, shuffle=False)
    assert (x.tolist(), y.tolist()) == ([1, 2], [4, 5])


@pytest.mark.parametrize("name", ["shuffle", "drop_remainder"])
def test_flags_are_flags(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: .*no"):
        batches(np.arange(3), **{name: "no"})
