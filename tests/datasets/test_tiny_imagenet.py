"""Tiny ImageNet is read from its folder or its archive."""

import shutil
import sys
import zipfile

import numpy as np
import pytest
from recording_files import all_files, empty, web_page

from keras_snn import datasets
from keras_snn.datasets import cache, images

WNIDS = ["n02124075", "n01443537", "n04067472"]  # not sorted


@pytest.fixture
def tiny(tmp_path):
    """Two training images per class and one test image, each uniform."""
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
        # The test images are gray, and the last belongs to the first class.
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
        # The cache is enough for the second load.
        monkeypatch.setitem(sys.modules, "PIL", None)


def test_tiny_imagenet_without_pillow_says_so(home, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="PIL"):
        datasets.load("tiny_imagenet", tiny)
    assert all_files(home) == []


def test_tiny_imagenet_needs_its_folder(home, tmp_path):
    with pytest.raises(
        ValueError, match="must be a folder with .*'tiny_imagenet'"
    ):
        datasets.load("tiny_imagenet")
    with pytest.raises(ValueError, match="a folder with tiny-imagenet-200"):
        datasets.load("tiny_imagenet", tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


def large(path):
    from PIL import Image

    Image.new("RGB", (64, 65)).save(path, "JPEG")


@pytest.mark.parametrize("damage", [cut, empty, web_page, large])
def test_a_damaged_image_is_named_and_nothing_cached(home, tiny, damage):
    path = tiny / "val" / "images" / "val_1.JPEG"
    damage(path)
    with pytest.raises(
        ValueError, match=f"`{path}` must be a JPEG image of 64 x 64"
    ):
        datasets.load("tiny_imagenet", tiny, progress=False)
    assert all_files(home) == []


@pytest.mark.parametrize(
    "line", ["val_0.JPEG\tn00000000\t0", "../val_0.JPEG\tn02124075", "junk"]
)
def test_wrong_annotations_are_named(home, tiny, line):
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
    with pytest.raises(
        ValueError, match=f"`{where}` must be a nonempty text file"
    ):
        datasets.load("tiny_imagenet", tiny.parent, progress=False)
    kept = all_files(home)
    assert {name.rpartition(".")[2] for name in kept} <= {"JPEG", "txt"}


def test_a_missing_image_is_named_by_the_list_and_its_path(home, tiny):
    path = tiny / "val" / "images" / "val_1.JPEG"
    path.unlink()
    with pytest.raises(
        ValueError,
        match=f"val_annotations.txt`, line 2: `{path}` must be a file",
    ):
        datasets.load("tiny_imagenet", tiny, progress=False)
    assert all_files(home) == []
    # A broken link is a file of its folder.
    path.symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=str(path)):
        datasets.load("tiny_imagenet", tiny, progress=False)


def test_an_image_that_vanishes_is_named_and_nothing_cached(
    home, tiny, monkeypatch
):
    path = tiny / "val" / "images" / "val_0.JPEG"
    monkeypatch.setattr(cache, "SHARD", 1)
    read = images._read_image

    def reading(row):
        path.unlink(missing_ok=True)
        return read(row)

    monkeypatch.setattr(images, "_read_image", reading)
    with pytest.raises(ValueError, match=f"`{path}` must be a JPEG image"):
        datasets.load("tiny_imagenet", tiny, progress=False)
    assert all_files(home) == []


def test_a_text_in_another_encoding_is_named(home, tiny):
    path = tiny / "val" / "val_annotations.txt"
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    with pytest.raises(
        ValueError, match=f"`{path}` must be a nonempty text file. .*utf-8"
    ):
        datasets.load("tiny_imagenet", tiny, progress=False)


def test_a_class_without_images_is_named(home, tiny):
    folder = tiny / "train" / WNIDS[1] / "images"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=f"`{folder}` must hold files"):
        datasets.load("tiny_imagenet", tiny, progress=False)


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
def test_empty_texts_are_named(home, tiny, name):
    (tiny / name).write_text("\n")
    with pytest.raises(ValueError, match=f"`{tiny / name}` must be a nonempty"):
        datasets.load("tiny_imagenet", tiny, progress=False)
