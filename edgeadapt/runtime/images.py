"""Images to a model's inputs, with PIL, bit for bit as the image processors of transformers do it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeadapt.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgeadapt.bundle import ImageRecord
    from edgeadapt.tasks import Array


def open_image(source: Any) -> Image:
    """Returns an image as RGB, upright as its EXIF data say.

    Args:
        source: A path, a PIL image, or a uint8 array `(height, width, 3)`. Source: `load_image` of transformers.

    Raises:
        InputError: It is none of these, or the file can't be read.
        UnsupportedError: PIL is not installed.

    Example:
        >>> open_image(np.zeros((2, 3, 3), np.uint8)).size
        (3, 2)
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise UnsupportedError(
            'A pipeline of images needs the package pillow.\nInstall it: pip install "edgeadapt[pipeline]"'
        ) from error
    if isinstance(source, Image.Image):
        return ImageOps.exif_transpose(source).convert("RGB")
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[-1] != 3:
            raise InputError(
                f"An image as an array: got {source.dtype} {source.shape}, expected uint8 (height, width, 3)."
            )
        return Image.fromarray(source)
    if not isinstance(source, (str, Path)):
        raise InputError(
            f"An image: got {type(source).__name__}, expected a path, a PIL image or a uint8 array (height, width, 3)."
        )
    if str(source).startswith(("http://", "https://")):
        raise InputError(
            f"An image: got the address {source}, and nothing is fetched here.\nDownload it and give its path."
        )
    try:
        with Image.open(source) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError as error:
        raise InputError(f"{source} is no image that PIL can read.") from error
    except OSError as error:
        raise InputError(f"The image {source} can't be read: {error.strerror or error}.") from error


def pixel_values(image: Image, record: ImageRecord) -> Array:
    """Returns an RGB image as float32 `(3, height, width)`: resized, its centre cut out, rescaled, normalised.

    Each step computes in the precision and order of transformers' processors (`PilBackend` in 5.x, the slow processors
    of ViT, DeiT, BEiT and BiT in 4.x), so the result is theirs to the bit.

    Raises:
        InputError: The result is not of the size that the model takes.
    """
    height, width = _resized_size(image, record.resize)
    pixels: Array = np.moveaxis(np.array(image.resize((width, height), resample=record.resample)), -1, 0)
    if record.crop is not None:
        pixels = _center(pixels, *record.crop)
    if pixels.shape[1:] != (record.height, record.width):
        raise InputError(f"The prepared image is {pixels.shape[1:]}, expected ({record.height}, {record.width}).")
    scaled: Array = (pixels.astype(np.float64) * record.rescale).astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (record.mean, record.std))
    return np.ascontiguousarray((scaled - mean) / std)


def _resized_size(image: Image, resize: Mapping[str, int]) -> tuple[int, int]:
    """Returns the height and width to resize to (`get_resize_output_image_size` of transformers)."""
    if "shortest_edge" not in resize:
        return resize["height"], resize["width"]
    short = resize["shortest_edge"]
    if image.width <= image.height:
        return int(short * image.height / image.width), short
    return short, int(short * image.width / image.height)


def _center(pixels: Array, height: int, width: int) -> Array:
    """Returns the centre of `(3, h, w)`; what lies outside is black (`center_crop` of transformers)."""
    tall, wide = max(height, pixels.shape[1]), max(width, pixels.shape[2])
    above, before = math.ceil((tall - pixels.shape[1]) / 2), math.ceil((wide - pixels.shape[2]) / 2)
    canvas = np.zeros((pixels.shape[0], tall, wide), pixels.dtype)
    canvas[:, above : above + pixels.shape[1], before : before + pixels.shape[2]] = pixels
    top = (pixels.shape[1] - height) // 2 + above
    left = (pixels.shape[2] - width) // 2 + before
    return canvas[:, top : top + height, left : left + width]
