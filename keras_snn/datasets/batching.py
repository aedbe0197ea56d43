"""Batches in an order that their seed and epoch decide."""

import threading

import keras
import numpy as np

from keras_snn.validation import check_choice, check_count

# PyTorch can do little with the larger unsigned integers.
SIGNED = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def batches(
    x,
    y=None,
    batch_size=32,
    *,
    shuffle=True,
    seed=0,
    first_epoch=0,
    drop_remainder=False,
):
    """Batches for `fit`, `evaluate` and `predict`, on every backend.

    The order of an epoch depends on `seed` and the epoch's number alone: a
    second run sees the batches of the first, and one that goes on from epoch n
    with `first_epoch=n` those of a run that was never interrupted. Nothing has
    to be given to `fit` for that: its own `shuffle` changes nothing here.

    Arrays that are mapped from a file stay there: each batch is read when it
    is due.

    Args:
        x: Samples along the first axis: an array, or anything with a length and
            a shape that an array of integers can index.
        y: Labels or targets of the samples, or `None`.
        batch_size: Samples per batch, at least 1.
        shuffle: Whether to draw a new order for every epoch. Without, samples
            come in their own, as `predict` wants them, and so do samples that
            all fit into one batch.
        seed: Integer of at least 0.
        first_epoch: Number of the first epoch, from 0. The `initial_epoch` of
            `fit` is a matter of its own.
        drop_remainder: Whether to leave out the last batch of an epoch if it is
            not full. Shuffled, other samples are left out each time.

    Returns:
        A `keras.utils.PyDataset` of `(x, y)`, or of `x` if there is no `y`. A
        batch has the dtype of its array, but `uint16` becomes `int32`, larger
        unsigned integers `int64`. Every whole pass over it is an epoch,
        whether of `fit` or of a `for` loop; `evaluate` with another one, not to
        count there. A pass cut short begins again. Subscripts are no random
        access: Keras shuffles the indices it asks for, so that an index is not
        looked at, and the n-th batch asked for is the n-th of the epoch.

    Raises:
        ValueError: If there is no batch, lengths differ, or an argument is out
            of range.

    Example:
    >>> import numpy as np
    >>> data = batches(np.arange(5), batch_size=2, shuffle=False)
    >>> [batch.tolist() for batch in data]
    [[0, 1], [2, 3], [4]]
    >>> one = batches(np.arange(5), batch_size=2)
    >>> epochs = [[batch.tolist() for batch in one] for _ in range(3)]
    >>> later = batches(np.arange(5), batch_size=2, first_epoch=2)
    >>> [batch.tolist() for batch in later] == epochs[2] != epochs[1]
    True
    """
    check_count("batch_size", batch_size)
    check_choice("shuffle", shuffle, (False, True))
    check_choice("drop_remainder", drop_remainder, (False, True))
    check_count("seed", seed, low=0)
    check_count("first_epoch", first_epoch, low=0)
    x, y = (
        np.asarray(z) if isinstance(z, (list, tuple)) else z for z in (x, y)
    )
    if y is not None and len(x) != len(y):
        raise ValueError(
            "`x` and `y` must be of one length. "
            f"Received: {len(x)} and {len(y)} samples"
        )
    if len(x) < (batch_size if drop_remainder else 1):
        raise ValueError(
            "`x` must have enough samples for one batch. "
            f"Received: {len(x)} samples, batch_size={batch_size}"
        )
    return _Batches(
        x, y, batch_size, shuffle, seed, first_epoch, drop_remainder
    )


class _Batches(keras.utils.PyDataset):
    """What `batches` returns.

    `fit(shuffle=True)`, the default, asks for the batches of an epoch in an
    order of its own, drawn from Python's global generator. So the index is not
    looked at: the n-th to be asked for is the n-th of the epoch. This needs to
    know where passes begin, as Keras also asks for a batch or two to learn
    their shapes: each pass of its begins by asking `num_batches`, and those of
    epochs after `on_epoch_begin`.
    """

    def __init__(
        self, x, y, batch_size, shuffle, seed, first_epoch, drop_remainder
    ):
        # One worker: more would mix up the order, and none is slower.
        super().__init__(workers=1)
        # A plain view of a file that is mapped, as slicing those is slow.
        self._x, self._y = (
            each.view(np.ndarray) if isinstance(each, np.memmap) else each
            for each in (x, y)
        )
        self._batch_size, self._seed = batch_size, seed
        # All samples in one batch: any order is as good, and Keras's look at an
        # only batch cannot be told from an epoch.
        self._shuffle = shuffle and len(x) > batch_size
        self._len = len(x) // batch_size
        if not drop_remainder and len(x) % batch_size:
            self._len += 1
        self._lock = threading.Lock()
        self._epoch, self._given = int(first_epoch), 0
        self._asked = self._begun = self._counts = False
        self._order = None, None

    def __len__(self):
        return self._len

    @property
    def num_batches(self):
        """Number of batches of an epoch; for Keras, the beginning of a pass."""
        self._asked = True
        return self._len

    def __getitem__(self, index):
        if not 0 <= index < self._len:
            raise IndexError(index)
        with self._lock:
            if self._asked or self._given == self._len:
                self._given, self._asked = 0, False
                self._counts = self._begun
            place = self._given
            self._given += 1
            return self._batch(self._epoch, place)

    def __iter__(self):
        epoch = self._epoch
        for place in range(self._len):
            with self._lock:
                batch = self._batch(epoch, place)
            yield batch
        self._epoch = epoch + 1

    def on_epoch_begin(self):
        """Says that the next pass is more than a look."""
        self._begun = True

    def on_epoch_end(self):
        """Moves on to the next epoch, if all batches of this one are out."""
        self._begun = False
        if self._counts and self._given == self._len:
            self._epoch += 1
            self._given, self._counts = 0, False

    def _batch(self, epoch, place):
        start = place * self._batch_size
        stop = min(start + self._batch_size, len(self._x))
        rows = slice(start, stop)
        if self._shuffle:
            if self._order[0] != epoch:
                rng = np.random.default_rng((self._seed, epoch))
                self._order = epoch, rng.permutation(len(self._x))
            rows = self._order[1][rows]
        x = _taken(self._x, rows)
        return x if self._y is None else (x, _taken(self._y, rows))


def _taken(array, rows):
    taken = np.asarray(array[rows])
    dtype = SIGNED.get(taken.dtype.name, taken.dtype)
    # Never a view: Keras may hand the memory of a batch to the backend.
    return taken.astype(dtype, copy=isinstance(rows, slice))
