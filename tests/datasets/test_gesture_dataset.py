"""DVS128 Gesture: recordings are cut into clips by their tables."""

import shutil
import tarfile

import numpy as np
import pytest
from recording_files import aedat3, all_files, load, write
from shared import shared

from keras_snn.datasets import cache

CLIPS = [(2, 100, 200), (11, 200, 250), (2, 240, 300)]


@pytest.fixture
def gesture(tmp_path):
    """Two recordings of three clips. The last two clips overlap."""
    folder = tmp_path / "ibm" / "DvsGesture"
    table = "class,startTime_usec,endTime_usec\n" + "".join(
        f"{label},{start},{end}\n" for label, start, end in CLIPS
    )
    for user, column in (("user01_led", 7), ("user24_lab", 9)):
        found = [(t, column, t // 10, 1) for t in range(50, 400, 5)]
        write(folder / f"{user}.aedat", aedat3(*found))
        write(folder / f"{user}_labels.csv", table.encode())
    write(folder / "trials_to_train.txt", b"user01_led.aedat\n\n")
    write(folder / "trials_to_test.txt", b"user24_lab.aedat\n")
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("above", [False, True])
def test_gestures_are_cut_where_the_labels_say(home, gesture, packed, above):
    if packed:
        if not above:
            pytest.skip("the archive is in the folder above")
        with tarfile.open(gesture.parent / "DvsGesture.tar.gz", "w:gz") as file:
            file.add(gesture, "DvsGesture")
        shutil.rmtree(gesture)
    folder = gesture.parent if above else gesture
    (x, y), (x_test, y_test) = load(folder, "dvs_gesture", timesteps=1)
    assert x.shape == x_test.shape == (3, 1, 128, 128, 2)
    assert y.tolist() == y_test.tolist() == [1, 10, 1]
    for frames, column in ((x, 7), (x_test, 9)):
        for clip, (_, start, end) in zip(frames, CLIPS, strict=True):
            wanted = np.zeros((128, 128, 2), int)
            # `start <= t < end`, as SpikingJelly cuts them.
            for t in range(start, end, 5):
                wanted[t // 10, column, 1] += 1
            np.testing.assert_array_equal(clip[0], wanted)


def test_clips_of_folders_are_complete(home, tmp_path):
    folder = shared("events/dvs_gesture")
    for number, split in ((1, "Train"), (2, "Train"), (8, "Test")):
        content = (folder / f"{number:02}.bin").read_bytes()
        write(tmp_path / split / str(number) / "a.bin", content)
    (x, y), (x_test, y_test) = load(tmp_path, "dvs_gesture", downsample=4)
    assert (y.tolist(), y_test.tolist()) == ([0, 1], [7])
    assert x.shape == (2, 20, 32, 32, 2)
    counts = [317_355 // 5, 421_300 // 5]
    assert x.sum(axis=(1, 2, 3, 4), dtype="int64").tolist() == counts
    assert x_test.sum(dtype="int64") == 506_440 // 5


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("12,100,200", r"\[12, 100, 200\]"),
        ("0,100,200", r"\[0, 100, 200\]"),
        ("3,200,200", r"\[3, 200, 200\]"),
        ("3,-1,200", r"\[3, -1, 200\]"),
        ("3,200", "columns changed from 3 to 2 at row 4"),
        ("three,100,200", "'three' to int64 at row 3"),
    ],
)
def test_rows_out_of_range_are_refused(home, gesture, line, why):
    path = gesture / "user24_lab_labels.csv"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(
        ValueError, match=f"`{path}` must have rows: class .*{why}"
    ):
        load(gesture, "dvs_gesture")
    assert all_files(home) == []


def test_a_clip_without_events_is_refused(home, gesture):
    path = gesture / "user24_lab_labels.csv"
    path.write_text(path.read_text() + "3,1000,2000\n")
    path = gesture / "user24_lab.aedat"
    with pytest.raises(
        ValueError, match=f"`{path}` must have events from 1000 to 2000 us"
    ):
        load(gesture, "dvs_gesture")
    assert all_files(home) == []


@pytest.mark.parametrize("name", ["user99.aedat", "../DvsGesture/x", "/etc/a"])
def test_a_list_must_name_files_beside_it(home, gesture, name):
    path = gesture / "trials_to_test.txt"
    path.write_text(f"user24_lab.aedat\n{name}\n")
    with pytest.raises(ValueError, match=f"`{path}`, line 2: '{name}'"):
        load(gesture, "dvs_gesture")


@pytest.mark.parametrize(
    "name", ["user24_lab_labels.csv", "trials_to_test.txt"]
)
def test_missing_texts_are_named(home, gesture, name, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 1)
    (gesture / name).unlink()
    with pytest.raises(
        ValueError, match=f"`{gesture / name}` must .* not found|No such file"
    ):
        load(gesture, "dvs_gesture")
    assert all_files(home) == []


def test_an_empty_list_is_named(home, gesture):
    path = gesture / "trials_to_test.txt"
    path.write_text("\n")
    with pytest.raises(
        ValueError, match=f"`{path}` must be a nonempty text file"
    ):
        load(gesture, "dvs_gesture")


def test_changed_labels_are_noticed(home, gesture):
    assert load(gesture, "dvs_gesture")[0][1].tolist() == [1, 10, 1]
    path = gesture / "user01_led_labels.csv"
    path.write_text(path.read_text().replace("\n2,", "\n3,"))
    assert load(gesture, "dvs_gesture")[0][1].tolist() == [2, 10, 2]
