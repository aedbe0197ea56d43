"""Batches whose order depends on a seed and the epoch."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_snn.validation import check_choice, check_count

__all__ = ["batches"]

# PyTorch supports few operations on the larger unsigned integers.
SIGNED = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def batches(
    x: Any,
    y: Any = None,
    batch_size: int = 32,
    *,
    shuffle: bool = True,
    seed: int = 0,
    first_epoch: int = 0,
    drop_remainder: bool = False,
) -> keras.utils.PyDataset:
    """Splits arrays into batches for `fit`, `evaluate` and `predict`.

    The order of an epoch depends only on `seed` and the number of the epoch. A
    run that resumes at epoch n, with `first_epoch=n`, therefore sees the same
    batches as an uninterrupted run. Pass `shuffle=False` to `fit`. Otherwise
    Keras shuffles the batches once more.

    Memory-mapped arrays stay on disk. Each batch is read when it is needed.

    Args:
        x: Samples along the first axis: an array, or any object that has a
            length and can be indexed with an array of integers.
        y: Labels or targets of the samples, or `None`.
        batch_size: Samples per batch, at least 1.
        shuffle: Whether to draw a new order for every epoch. Use `False` for
            `predict`. If all samples fit into one batch, they keep their order.
        seed: Integer of at least 0.
        first_epoch: Number of the first epoch, at least 0. Also pass it to
            `fit` as `initial_epoch`.
        drop_remainder: Whether to leave out the last batch of an epoch if it
            is not full. With shuffling, each epoch leaves out different
            samples.

    Returns:
        A `keras.utils.PyDataset` of batches `(x, y)`, or `x` if `y` is `None`.
        Index i is batch i of the current epoch. The next epoch begins after a
        full pass of `fit` or a `for` loop. `evaluate` and `predict` count as
        passes, too, so give them their own dataset. Batches keep the dtype of
        their array, except that `uint16` becomes `int32`, and `uint32` and
        `uint64` become `int64`.

    Raises:
        ValueError: If there are too few samples for one batch, the lengths of
            `x` and `y` differ, or an argument is out of range.

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
    batch_size = check_count("batch_size", batch_size)
    check_choice("shuffle", shuffle, (False, True))
    check_choice("drop_remainder", drop_remainder, (False, True))
    seed = check_count("seed", seed, low=0)
    first_epoch = check_count("first_epoch", first_epoch, low=0)
    # Slicing an `np.memmap` is slow. Slicing a plain view of it is fast.
    arrays = [
        np.asarray(z) if isinstance(z, (list, tuple, np.memmap)) else z
        for z in ([x] if y is None else [x, y])
    ]
    if len({len(z) for z in arrays}) > 1:
        raise ValueError(
            "`x` and `y` must have the same length. "
            f"Received: {' and '.join(str(len(z)) for z in arrays)} samples"
        )
    number = (len(x) + (0 if drop_remainder else batch_size - 1)) // batch_size
    if not number:
        raise ValueError(
            "`x` must have enough samples for one batch. "
            f"Received: {len(x)} samples, batch_size={batch_size}"
        )
    # An epoch of one batch is not shuffled, because its order does not matter.
    shuffled = shuffle and len(x) > batch_size
    return _Batches(
        arrays, batch_size, number, seed if shuffled else None, first_epoch
    )


class _Batches(keras.utils.PyDataset):
    """The dataset that `batches` returns. A seed of `None` keeps the order."""

    def __init__(self, arrays, batch_size, number, seed, epoch):
        super().__init__()
        self._arrays, self._batch_size = arrays, batch_size
        self._number, self._seed = number, seed
        self._begin(epoch)

    def _begin(self, epoch):
        self._epoch = epoch
        self._left = math.inf
        if self._seed is not None:
            rng = np.random.default_rng((self._seed, epoch))
            self._order = rng.permutation(len(self._arrays[0]))

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self._number:
            raise IndexError(index)
        self._left -= 1
        rows = slice(index * self._batch_size, (index + 1) * self._batch_size)
        if self._seed is not None:
            rows = self._order[rows]
        batch = [_take(x, rows) for x in self._arrays]
        return tuple(batch) if len(batch) > 1 else batch[0]

    def __iter__(self) -> Iterator[Any]:
        self.on_epoch_begin()
        for index in range(self._number):
            yield self[index]
        self.on_epoch_end()

    def on_epoch_begin(self) -> None:
        """Starts counting the batches of the epoch."""
        self._left = min(self._left, self._number)

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch after a full pass.

        Keras also calls this before training, after it has read a batch or two.
        """
        if self._left <= 0:
            self._begin(self._epoch + 1)


def _take(array, rows):
    taken = np.asarray(array[rows])
    dtype = SIGNED.get(taken.dtype.name, taken.dtype)
    # Not a view, because Keras may share the memory with the backend.
    return taken.astype(dtype, copy=isinstance(rows, slice))
