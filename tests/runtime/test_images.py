from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image
from transformers.image_utils import load_image

from edgeadapt.bundle import ImageRecord
from edgeadapt.errors import InputError, UnsupportedError
from edgeadapt.exporter import preprocess
from edgeadapt.runtime.images import open_image, pixel_values
from edgeadapt.tasks.image_classification import SAMPLES

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", {}),
    "vit-384": ("ViTImageProcessor", {"size": {"height": 384, "width": 256}}),
    "swin": ("ViTImageProcessor", {**IMAGENET, "resample": 3}),
    "deit": ("DeiTImageProcessor", {}),
    "deit-padded": (
        "DeiTImageProcessor",
        {"size": {"height": 101, "width": 200}, "crop_size": {"height": 150, "width": 151}},
    ),
    "beit": ("BeitImageProcessor", {"do_reduce_labels": True}),
    "beit-cropped": ("BeitImageProcessor", {"do_center_crop": True, "size": {"height": 256, "width": 256}}),
    "dinov2": ("BitImageProcessor", {**IMAGENET, "size": {"shortest_edge": 256}}),
    "dinov2-odd": ("BitImageProcessor", {"size": {"shortest_edge": 97}, "crop_size": {"height": 64, "width": 90}}),
    "clip": ("CLIPImageProcessor", {}),
    "plain": ("ViTImageProcessor", {"do_normalize": False}),
    "raw": ("ViTImageProcessor", {"do_rescale": False, "do_normalize": False}),
    "one-channel-mean": ("ViTImageProcessor", {"image_mean": 0.5, "image_std": 0.25}),
}


def processor(name: str) -> Any:
    """Returns the processor that computes with PIL: `...Pil` in transformers 5, the slow one in 4."""
    base, options = FAMILIES[name]
    five = getattr(transformers, f"{base}Pil", None)
    return (five or getattr(transformers, base))(**options)


@pytest.mark.parametrize("name", FAMILIES)
def test_pixels_are_those_of_transformers(name: str) -> None:
    live = processor(name)
    record = preprocess.image_record(live)
    for picture in SAMPLES:
        expected = live(images=Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
        got = pixel_values(open_image(picture), record)
        assert got.shape == (3, record.height, record.width) and got.flags.c_contiguous
        assert got.dtype == np.float32
        # To the bit, except that transformers leaves bytes where nothing is done to them.
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_images_of_all_modes_become_rgb_as_in_transformers(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(SAMPLES[3]).convert(mode)
    np.testing.assert_array_equal(np.array(open_image(image)), np.array(load_image(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(SAMPLES[1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "turned.png"
    image.save(file, exif=exif)
    np.testing.assert_array_equal(np.array(open_image(file)), np.array(load_image(str(file))))


def test_a_file_is_closed_after_reading(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(SAMPLES[0]).save(file)
    open_image(file)
    file.unlink()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((3, 4, 4), np.uint8), r"got uint8 \(3, 4, 4\), expected uint8 \(height, width, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "got float32"),
        (3.5, "got float"),
        (io.BytesIO(), "got BytesIO"),
        ("https://example.com/a.png", "nothing is fetched here"),
        ("no/such.png", r"no/such\.png can't be read: No such file"),
    ],
)
def test_what_is_no_image_is_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_image(source)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.png"
    file.write_text("hello")
    with pytest.raises(InputError, match="is no image that PIL can read"):
        open_image(file)


def test_a_size_that_the_model_does_not_take_is_refused() -> None:
    record = ImageRecord(8, 8, {"shortest_edge": 8}, 2, None, 1.0, (0.0,) * 3, (1.0,) * 3)
    with pytest.raises(InputError, match=r"is \(8, 14\), expected \(8, 8\)"):
        pixel_values(open_image(SAMPLES[1]), record)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "PIL":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r'pip install "edgeadapt\[pipeline\]"'):
        open_image("a.png")
