"""Files of SHD and SSC that are damaged or not as published are refused."""

import numpy as np
import pytest
from recording_files import all_files, empty, load, web_page
from spike_train_files import counted, drawn, published, ragged

from keras_snn import datasets
from keras_snn.datasets import cache, spike_trains


def refused(folder, why):
    """Asserts that the file is refused in one sentence, and nothing kept."""
    path = folder / "shd_train.h5"
    message = f"`{path}` is damaged, or not as published: replace it. Received"
    with pytest.raises(ValueError, match=f"{message}: .*{why}") as caught:
        load(folder, "shd")
    assert "\n" not in str(caught.value)
    assert all_files(datasets.cache_dir()) == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        pytest.param(
            {"spikes__units": None},
            "spikes/units must hold an array of integers for each sample",
            id="no units",
        ),
        pytest.param(
            {"spikes__units": None, "spikes__times": None},
            "spikes/times must hold an array of floats for each sample",
            id="no group",
        ),
        pytest.param(
            {"labels": None},
            "labels must hold an integer for each sample",
            id="no labels",
        ),
        pytest.param(
            {"labels__more": [1, 2, 3], "labels": None},
            "labels must hold an integer",
            id="labels in a group",
        ),
        pytest.param(
            {"labels": [0.0, 1.0, 2.0]},
            "labels must hold an integer",
            id="float labels",
        ),
        pytest.param(
            {"labels": [b"zero", b"one", b"two"]},
            "labels must hold an integer",
            id="words as labels",
        ),
        pytest.param(
            {"labels": np.zeros((3, 1), int)},
            "labels must hold an integer",
            id="two axes",
        ),
        pytest.param(
            {"spikes__times": np.zeros((3, 5))},
            "spikes/times must hold an array of floats",
            id="equal lengths",
        ),
        pytest.param(
            {"spikes__times": ragged("i4", [1], [2], [3])},
            "spikes/times must hold an array of floats",
            id="integer times",
        ),
        pytest.param(
            {"spikes__units": ragged("f4", [1], [2], [3])},
            "spikes/units must hold an array of integers",
            id="float units",
        ),
        pytest.param(
            {"labels": [1, 2]},
            "numbers of samples: {'labels': 2, 'spikes/times': 3, 'spikes/",
            id="too few labels",
        ),
        pytest.param(
            {"labels": [0, 1, 20]},
            r"label 2 is 20, not in \[0, 20\)",
            id="label too large",
        ),
        pytest.param(
            {"labels": [0, -1, 3]}, "label 1 is -1, not", id="negative label"
        ),
        pytest.param(
            {"spikes__units": ragged("u2", [0, 1, 2, 700], [0, 0], [])},
            r"sample 0: unit 3 is 700, not in \[0, 700\)",
            id="unit too large",
        ),
        pytest.param(
            {"spikes__units": ragged("i2", [0, 1, 2, 3], [4, -1], [])},
            "sample 1: unit 1 is -1, not",
            id="negative unit",
        ),
        pytest.param(
            {"spikes__times": ragged("f4", [0, 0, 0, 0], [-0.5, 0], [])},
            "sample 1: time 0 is -0.5, not",
            id="negative time",
        ),
        pytest.param(
            {"spikes__times": ragged("f4", [0, np.nan, 0, 0], [0, 0], [])},
            "sample 0: time 1 is nan, not",
            id="nan",
        ),
        pytest.param(
            {"spikes__times": ragged("f2", [0, 0, 0, np.inf], [0, 0], [])},
            "sample 0: time 3 is inf, not",
            id="inf",
        ),
        pytest.param(
            {"spikes__times": ragged("f2", [0, 0, 0, 0], [0, 0], [1])},
            "sample 2 has 1 times, 0 units",
            id="unequal lengths",
        ),
    ],
)
def test_files_that_are_not_as_published_are_refused(home, shd, changed, why):
    published(shd / "shd_train.h5", **changed)
    refused(shd, why)


def test_a_file_without_samples_is_refused(home, shd):
    none = {"spikes__times": ragged("f2"), "spikes__units": ragged("u2")}
    published(shd / "shd_train.h5", labels=np.zeros(0, int), **none)
    refused(shd, "numbers of samples: {'labels': 0, ")


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [empty, web_page, folder])
def test_other_content_is_refused(home, shd, damage):
    damage(shd / "shd_train.h5")
    refused(shd, "(signature not found|Is a directory)")


def test_every_truncation_of_a_file_is_noticed(home, shd):
    path = shd / "shd_train.h5"
    content = path.read_bytes()
    for size in [*range(0, len(content), len(content) // 20), len(content) - 1]:
        path.write_bytes(content[:size])
        refused(shd, "")


def test_damage_in_a_later_sample_leaves_nothing(home, shd, rng, monkeypatch):
    # One shard per sample, so that some are complete before the damage.
    monkeypatch.setattr(cache, "SHARD", 1)
    monkeypatch.setattr(spike_trains, "CHUNK", 1)
    good = drawn(rng, 4, "f2")
    published(shd / "shd_train.h5", [*good, ([0.5], [800], 1)])
    refused(shd, "sample 4: unit 0 is 800")
    published(shd / "shd_train.h5", good)
    (x, _), _ = load(shd, "shd")
    np.testing.assert_array_equal(x, counted(good, 100, 0.014))
