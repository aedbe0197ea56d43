"""HDF5 files of spike trains, with the structure of SHD and SSC."""

from fractions import Fraction

import h5py
import numpy as np

# Times, units and label of each sample. The last train is empty.
TRAINS = [
    ([0.0, 0.25, 0.375, 0.75], [0, 699, 699, 3], 0),
    ([0.5, 0.125], [350, 350], 19),
    ([], [], 7),
]


def published(path, trains=TRAINS, times="f2", **changed):
    """Writes trains as Cramer et al. do.

    `changed` replaces datasets by other content. `None` leaves one out.
    """
    arrays = {"spikes__times": times, "spikes__units": "u2"}
    keys = [*arrays, "labels"]
    columns = {key: [x[i] for x in trains] for i, key in enumerate(keys)}
    with h5py.File(path, "w") as file:
        for key, dtype in arrays.items():
            if key not in changed:
                name, kind = key.replace("__", "/"), h5py.vlen_dtype(dtype)
                part = file.create_dataset(name, (len(trains),), kind)
                for i, values in enumerate(columns[key]):
                    part[i] = np.array(values, dtype)
        content = {"labels": np.array(columns["labels"], "u2")} | changed
        for key, value in content.items():
            if value is not None:
                file[key.replace("__", "/")] = value
        file["extra/speaker"] = np.zeros(len(trains), "u2")
        file["extra/keys"] = [b"zero", b"one"]
        file["extra/meta_info/gender"] = [b"female"]
    return path


def ragged(dtype, *rows):
    """Returns arrays of unequal lengths, as h5py writes them."""
    array = np.empty(len(rows), h5py.vlen_dtype(dtype))
    for i, row in enumerate(rows):
        array[i] = np.array(row, dtype)
    return array


def counted(trains, timesteps, bin_width, downsample=1):
    """Counts as defined, in exact arithmetic: i w <= t < (i + 1) w."""
    frames = np.zeros((len(trains), timesteps, 700 // downsample), int)
    for i, (times, units, _) in enumerate(trains):
        for t, unit in zip(times, units, strict=True):
            step = Fraction(float(t)) // Fraction(bin_width)
            if step < timesteps:
                frames[i, step, unit // downsample] += 1
    return frames


def drawn(rng, number, dtype):
    """Draws trains of up to 1.5 s, of unequal lengths and not in order."""
    sizes = rng.integers(20, 300, number)
    return [
        (
            rng.uniform(0, 1.5, size).astype(dtype).tolist(),
            rng.integers(0, 700, size).tolist(),
            int(rng.integers(20)),
        )
        for size in sizes
    ]
