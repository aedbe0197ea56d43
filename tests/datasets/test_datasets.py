import gc
import os
import pathlib
import shutil
import sys
import types
import warnings
import zipfile

import numpy as np
import pytest

from keras_snn import datasets
from keras_snn.datasets import cache, images

# Samples per digit, as Yann LeCun's files have them.
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture
def home(tmp_path, monkeypatch):
    # Without the package, for a mistake must not end in a download.
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def cached(home):
    """A small intact cache file, and what it holds."""
    images = np.arange(2 * 28 * 28, dtype="uint8").reshape(2, 28, 28, 1)
    labels = np.array([3, 8])
    arrays = (images, labels, images[:1], labels[:1])
    path = datasets.cache_dir() / "mnist.npz"
    path.parent.mkdir()
    np.savez_compressed(path, **dict(zip(datasets.ARRAYS, arrays, strict=True)))
    return path, arrays


def without(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def flat(dataset):
    return [array for pair in dataset for array in pair]


def all_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


class FakeTFDS(types.ModuleType):
    """Stands for `tensorflow_datasets`: what is called of it, no more."""

    def __init__(self, arrays=None, error=None):
        super().__init__("tensorflow_datasets")
        self.arrays, self.error, self.calls = arrays, error, []

    def builder(self, name, data_dir=None):
        self.calls.append((name, data_dir))
        return self

    def download_and_prepare(self):
        if self.error:
            raise self.error

    def as_dataset(self, split, batch_size, as_supervised):
        assert (split, batch_size, as_supervised) == (
            ["train", "test"],
            -1,
            True,
        )
        return [self.arrays[:2], self.arrays[2:]]

    def as_numpy(self, splits):
        return splits


def test_digits_are_scikit_learns_in_the_range_of_bytes():
    from sklearn.datasets import load_digits

    (x_train, y_train), (x_test, y_test) = datasets.load("digits")
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert (len(x_train), len(y_train)) == (1437, 1437)
    assert (len(x_test), len(y_test)) == (360, 360)
    images, labels = load_digits(return_X_y=True)
    joined = np.concatenate([x_train, x_test])
    assert joined.shape == (1797, 8, 8, 1)
    assert (joined.min(), joined.max()) == (0, 255)
    # 0..16 to 0..255, rounded to the nearest.
    scaled = images.reshape(1797, 8, 8, 1) / 16 * 255
    assert abs(joined - scaled).max() <= 0.5
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), labels)


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    without(monkeypatch, "sklearn", "sklearn.datasets")
    with pytest.raises(
        ImportError,
        match=r'scikit-learn, .*pip install "keras-snn\[examples\]"',
    ):
        datasets.load("digits")


def test_mnist_is_whole_and_cached_by_the_first_load(tmp_path, monkeypatch):
    prepared = os.environ.get("TFDS_DATA_DIR")
    in_cache = (datasets.cache_dir() / "mnist.npz").exists()
    in_tfds = prepared and (pathlib.Path(prepared) / "mnist").is_dir()
    if not (in_tfds or in_cache):
        pytest.skip(
            "MNIST is not on this machine: TFDS_DATA_DIR names no folder that "
            f"holds mnist, nor is it in {datasets.cache_dir()}"
        )
    if in_tfds:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        first = datasets.load("mnist")
        assert all_files(tmp_path) == [tmp_path / "keras_snn" / "mnist.npz"]
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    second = datasets.load("mnist")
    if in_tfds:
        for one, other in zip(flat(first), flat(second), strict=True):
            np.testing.assert_array_equal(one, other)
    (x_train, y_train), (x_test, y_test) = second
    assert x_train.shape == (60_000, 28, 28, 1)
    assert x_test.shape == (10_000, 28, 28, 1)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert np.bincount(y_train).tolist() == MNIST_TRAIN
    assert np.bincount(y_test).tolist() == MNIST_TEST


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mnist", (28, 28, 1)),
        ("cifar10", (32, 32, 3)),
        ("cifar100", (32, 32, 3)),
    ],
)
def test_the_first_load_asks_tfds_and_the_second_the_cache(
    home, monkeypatch, rng, name, shape
):
    arrays = [
        rng.integers(0, 256, (5, *shape), "uint8"),
        rng.integers(0, 10, 5),
        rng.integers(0, 256, (2, *shape), "uint8"),
        rng.integers(0, 10, 2),
    ]
    fake = FakeTFDS(arrays)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    loads = [datasets.load(name, data_dir="prepared")]
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    loads.append(datasets.load(name, data_dir="prepared"))
    assert fake.calls == [(name, "prepared")]
    for load in loads:
        for one, other in zip(flat(load), arrays, strict=True):
            np.testing.assert_array_equal(one, other)
    assert all_files(home) == [home / "keras_snn" / f"{name}.npz"]


def test_a_cache_file_copied_here_is_enough(cached, monkeypatch):
    _, arrays = cached
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    for one, other in zip(flat(datasets.load("mnist")), arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def keep_the_first_byte(path):
    path.write_bytes(path.read_bytes()[:1])


def empty(path):
    path.write_bytes(b"")


def no_zip(path):
    path.write_text("<html>404 Not Found</html>")


def other_keys(path):
    np.savez_compressed(path, x=np.zeros(3))


def pickled(path):
    arrays = {name: np.array([None]) for name in datasets.ARRAYS}
    np.savez_compressed(path, **arrays)


def single_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def flip_bits(path):
    content = bytearray(path.read_bytes())
    # Inside the compressed images, which come first.
    for place in range(80, 200):
        content[place] ^= 255
    path.write_bytes(content)


def compressed_otherwise(path, method=14):  # LZMA
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[8] = content[entry + 10] = method
    path.write_bytes(content)


def compressed_in_no_way(path):
    compressed_otherwise(path, 99)


@pytest.mark.parametrize(
    "damage",
    [
        compressed_otherwise,
        compressed_in_no_way,
        truncate,
        keep_the_first_byte,
        empty,
        no_zip,
        other_keys,
        pickled,
        single_array,
        flip_bits,
    ],
)
def test_a_damaged_cache_file_is_named(cached, damage):
    path, _ = cached
    damage(path)
    with pytest.raises(ValueError, match="is damaged: delete it") as caught:
        datasets.load("mnist")
    assert f"`{path}`" in str(caught.value)


@pytest.mark.parametrize("damage", [truncate, no_zip, other_keys])
def test_a_damaged_cache_file_is_closed(cached, damage):
    # Else Windows would not let it be deleted, as the message asks.
    path, _ = cached
    damage(path)
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(ValueError, match="is damaged"):
            datasets.load("mnist")
        gc.collect()
    unclosed = [x for x in caught if str(path) in str(x.message)]
    assert unclosed == []


def test_mnist_without_a_package_says_what_to_install(home, monkeypatch):
    without(monkeypatch, "tensorflow_datasets")
    with pytest.raises(
        ImportError,
        match=r"tensorflow-datasets: pip install "
        r'"keras-snn\[examples\]", or copy mnist.npz',
    ):
        datasets.load("mnist")
    assert all_files(home) == []


def test_a_failing_download_says_so_and_leaves_no_file(home, monkeypatch):
    fake = FakeTFDS(error=ConnectionError("no route to host"))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    with pytest.raises(
        RuntimeError,
        match="'mnist' is not cached .* TFDS_DATA_DIR .*"
        "Received: ConnectionError: no route to host",
    ):
        datasets.load("mnist")
    assert all_files(home) == []


def test_a_failing_write_leaves_no_file(home, monkeypatch):
    arrays = [np.zeros(1)] * 4
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", FakeTFDS(arrays))

    def full_disk(path, **_):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="No space left"):
        datasets.load("mnist")
    assert all_files(home) == []


def test_the_cache_is_in_keras_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    assert datasets.cache_dir() == tmp_path / "elsewhere" / "keras_snn"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path)
    assert datasets.cache_dir() == tmp_path / ".keras" / "keras_snn"


@pytest.mark.parametrize("name", ["cifar11", "MNIST", None])
def test_unknown_names_are_refused(home, name):
    with pytest.raises(
        ValueError, match=f"`name` must be one of 'digits', .*name={name!r}"
    ):
        datasets.load(name)


@pytest.mark.slow
def test_cifar10_is_whole(tmp_path, monkeypatch):
    prepared = os.environ.get("TFDS_DATA_DIR")
    if not (prepared and (pathlib.Path(prepared) / "cifar10").is_dir()):
        pytest.skip("TFDS_DATA_DIR names no folder that holds cifar10")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (x_train, y_train), (x_test, y_test) = datasets.load("cifar10")
    assert x_train.shape == (50_000, 32, 32, 3)
    assert x_test.shape == (10_000, 32, 32, 3)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert np.bincount(y_train).tolist() == 10 * [5000]
    assert np.bincount(y_test).tolist() == 10 * [1000]


def test_names_are_told_apart():
    assert set(datasets.IMAGES) | set(datasets.EVENTS) == set(datasets.NAMES)
    assert not set(datasets.IMAGES) & set(datasets.EVENTS)
    assert set(datasets.CLASSES) == set(datasets.NAMES)


# Tiny ImageNet

WNIDS = ["n02124075", "n01443537", "n04067472"]  # not in order


@pytest.fixture
def tiny(tmp_path):
    """Two training images per class and one for testing, each of one colour."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    folder = tmp_path / "data" / "tiny-imagenet-200"

    def write(path, colour, mode="RGB"):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.new(mode, (64, 64), colour).save(path, "JPEG", quality=95)

    lines = []
    for label, wnid in enumerate(WNIDS):
        for i in range(2):
            path = folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG"
            write(path, (40 * label, 100 * i, 200))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("")
        # The last image is the first class's, and gray.
        name = f"val_{2 - label}.JPEG"
        write(folder / "val" / "images" / name, 40 * label, "L")
        lines.append(f"{name}\t{wnid}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines[::-1]))
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return folder


def zip_up(folder):
    path = folder.with_name("tiny-imagenet-200.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for each in sorted(folder.rglob("*")):
            archive.write(each, each.relative_to(folder.parent).as_posix())
    shutil.rmtree(folder)
    return path


@pytest.mark.parametrize("layout", ["itself", "above", "packed"])
def test_tiny_imagenet_is_read_in_the_order_of_its_classes(
    home, tiny, layout, monkeypatch
):
    if layout == "packed":
        zip_up(tiny)
    folder = tiny if layout == "itself" else tiny.parent
    for _ in range(2):
        (x, y), (x_test, y_test) = datasets.load(
            "tiny_imagenet", folder, progress=False
        )
        assert x.shape == (6, 64, 64, 3)
        assert x_test.shape == (3, 64, 64, 3)
        assert x.dtype == x_test.dtype == np.uint8
        assert y.dtype == y_test.dtype == np.int64
        assert y.tolist() == [0, 0, 1, 1, 2, 2]
        assert y_test.tolist() == [2, 1, 0]
        colours = [(40 * c, 100 * i, 200) for c in range(3) for i in range(2)]
        # JPEG rounds colours by a few shades.
        wanted = np.array(colours)[:, None, None]
        assert abs(x.astype(int) - wanted).max() <= 4
        gray = np.array([80, 40, 0])[:, None, None, None]
        assert abs(x_test.astype(int) - gray).max() <= 4
        # The second time the cache is enough.
        without(monkeypatch, "PIL")


def test_tiny_imagenet_without_pillow_says_so(home, tiny, monkeypatch):
    without(monkeypatch, "PIL")
    with pytest.raises(ImportError, match="Pillow, .*pip install pillow"):
        datasets.load("tiny_imagenet", tiny)
    assert all_files(home / "keras_snn") == []


def test_tiny_imagenet_needs_its_folder(home, tmp_path):
    with pytest.raises(ValueError, match="'tiny_imagenet' needs `data_dir`"):
        datasets.load("tiny_imagenet")
    with pytest.raises(ValueError, match="must hold tiny-imagenet-200"):
        datasets.load("tiny_imagenet", tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


def as_png(path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(path, "PNG")


def large(path):
    from PIL import Image

    Image.new("RGB", (64, 65)).save(path, "JPEG")


@pytest.mark.parametrize("damage", [cut, empty, no_zip, as_png, large])
def test_a_damaged_image_is_named_and_nothing_cached(home, tiny, damage):
    path = tiny / "val" / "images" / "val_1.JPEG"
    damage(path)
    with pytest.raises(ValueError, match=f"`{path}` is no intact JPEG image"):
        datasets.load("tiny_imagenet", tiny, progress=False)
    assert all_files(home / "keras_snn") == []


@pytest.mark.parametrize(
    "line", ["val_0.JPEG\tn00000000\t0", "../val_0.JPEG\tn02124075", "junk"]
)
def test_annotations_that_make_no_sense_are_named(home, tiny, line):
    path = tiny / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=f"`{path}`, line 4: "):
        datasets.load("tiny_imagenet", tiny, progress=False)


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_missing_text_is_named(home, tiny, name, packed):
    (tiny / name).unlink()
    where = str(tiny / name)
    if packed:
        zip_up(tiny)
        where = f".*/tiny-imagenet-200/{name}"
    with pytest.raises(ValueError, match=f"`{where}` must be a file that can"):
        datasets.load("tiny_imagenet", tiny.parent, progress=False)
    kept = all_files(home / "keras_snn")
    assert {path.suffix for path in kept} <= {".JPEG", ".txt"}


def test_a_missing_image_is_named_by_the_list_and_its_path(home, tiny):
    path = tiny / "val" / "images" / "val_1.JPEG"
    path.unlink()
    with pytest.raises(
        ValueError, match=f"val_annotations.txt`, line 2: `{path}` is no file"
    ):
        datasets.load("tiny_imagenet", tiny, progress=False)
    assert all_files(home / "keras_snn") == []
    # A link that leads nowhere is listed with its folder's files.
    path.symlink_to("nowhere")
    with pytest.raises(ValueError, match=f"`{path}` must be a file that can"):
        datasets.load("tiny_imagenet", tiny, progress=False)


def test_an_image_that_goes_meanwhile_leaves_nothing(home, tiny, monkeypatch):
    path = tiny / "val" / "images" / "val_0.JPEG"
    monkeypatch.setattr(cache, "SHARD", 1)
    read = images._read_jpeg

    def reading(source):
        path.unlink(missing_ok=True)
        return read(source)

    monkeypatch.setattr(images, "_read_jpeg", reading)
    with pytest.raises(ValueError, match=f"`{path}` must be a file that can"):
        datasets.load("tiny_imagenet", tiny, progress=False)
    assert all_files(home / "keras_snn") == []


def test_a_text_of_other_bytes_is_named(home, tiny):
    path = tiny / "val" / "val_annotations.txt"
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    with pytest.raises(ValueError, match=f"`{path}`, line 1: "):
        datasets.load("tiny_imagenet", tiny, progress=False)


def test_a_class_without_images_is_named(home, tiny):
    folder = tiny / "train" / WNIDS[1] / "images"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=f"`{folder}` must hold images"):
        datasets.load("tiny_imagenet", tiny, progress=False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("val/val_annotations.txt", "", "images for testing"),
        ("wnids.txt", "", "once. Received: 0 names"),
        ("wnids.txt", f"{WNIDS[0]} {WNIDS[0]}", "once. Received: 2 names, 1 "),
    ],
)
def test_empty_texts_are_named(home, tiny, name, content, message):
    (tiny / name).write_text(content)
    with pytest.raises(ValueError, match=f"`{tiny / name}` must .*{message}"):
        datasets.load("tiny_imagenet", tiny, progress=False)
