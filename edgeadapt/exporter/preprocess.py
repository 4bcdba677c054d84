"""The base's tokenizer or image processor, written down so that a device needs no transformers, and proven equal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeadapt import tasks
from edgeadapt.bundle import ImageRecord, TokenizerRecord
from edgeadapt.errors import CheckpointError, UnsupportedError
from edgeadapt.runtime.images import open_image, pixel_values
from edgeadapt.runtime.tokenizer import TextTokenizer
from edgeadapt.tasks import Array

TOKENIZER = "tokenizer.json"
NO_LIMIT = 2**31 - 1
"""The `max_length` of a model that takes texts of any length (T5, XLNet)."""

_INSANE = 10**9
"""transformers writes 10**30 for a tokenizer that knows no limit."""

# Position 0 of a text is embedding padding_idx + 1 here, so that many embeddings are never used by a token.
_OFFSET_POSITIONS = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "layoutlmv3",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mluke",
        "mpnet",
    }
    | {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"}
)
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")
_IMAGE_FILES = ("preprocessor_config.json",)
_IMAGE_STEPS = frozenset({"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"})
# Said of label maps of segmentation, never done to an image.
_LABEL_STEPS = frozenset({"do_reduce_labels"})
_TOLERANCE = 1e-6


def load_preprocessing(source: str | Path) -> Any | None:
    """Returns the tokenizer of a base, or its image processor where it has no tokenizer, or None where it has neither.

    Args:
        source: Folder or hub id.

    Raises:
        CheckpointError: The files are there and transformers can't open them.
    """
    # Not at the top: it takes seconds to import, and much of the exporter never needs it.
    import transformers

    opener: Any = transformers
    try:
        if _holds(source, _TOKENIZER_FILES):
            return opener.AutoTokenizer.from_pretrained(source)
        if _holds(source, _IMAGE_FILES):
            # PIL computes on a device as it does here; torchvision, which is the default where installed, differs.
            options = {"use_fast": False} if transformers.__version__.startswith("4.") else {"backend": "pil"}
            return opener.AutoImageProcessor.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"{source} has a tokenizer or image processor that can't be opened:\n  {reason}"
        ) from error
    return None


def _holds(source: str | Path, names: tuple[str, ...]) -> bool:
    if Path(source).is_dir():
        return any((Path(source) / name).is_file() for name in names)
    from transformers.utils.hub import cached_file

    for name in names:
        try:
            cached_file(source, name)
        except OSError:
            continue
        return True
    return False


def records(preprocessor: Any | None, config: Any, folder: Path) -> tuple[TokenizerRecord | None, ImageRecord | None]:
    """Returns what the manifest says of a tokenizer or image processor; a tokenizer's file is written to `folder`.

    Args:
        preprocessor: What `load_preprocessing` returned.
        config: The base's transformers config.
        folder: The bundle's folder.

    Raises:
        UnsupportedError: It does something that the runtime does not.
    """
    if preprocessor is None:
        return None, None
    if hasattr(preprocessor, "image_processor_type") or hasattr(preprocessor, "image_mean"):
        return None, image_record(preprocessor)
    return tokenizer_record(preprocessor, config, folder), None


def tokenizer_record(tokenizer: Any, config: Any, folder: Path) -> TokenizerRecord:
    """Writes a tokenizer to `folder` as `tokenizer.json` and returns its record, proven on the tasks' samples.

    The file holds no truncation and no padding, which are of a call: the same tokenizer gives the same bytes.

    Raises:
        UnsupportedError: It is written in Python, cuts texts at their start, has no token to pad with, or tokenizes
            unlike its own file.
    """
    name = type(tokenizer).__name__
    if not tokenizer.is_fast:
        raise UnsupportedError(
            f"{name} exists in Python only, and a device runs tokenizers from a tokenizer.json.\n"
            "Take a base with a fast tokenizer, or save one with transformers.convert_slow_tokenizer."
        )
    if tokenizer.truncation_side != "right":
        raise UnsupportedError(
            f"{name} cuts long texts on the {tokenizer.truncation_side}; the runtime cuts them on the right.\n"
            "Save it with truncation_side='right' if texts that long don't matter."
        )
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    plain.save(str(folder / TOKENIZER))
    pad_id = _pad_id(tokenizer, config, plain)
    record = TokenizerRecord(
        file=TOKENIZER,
        max_length=_max_length(tokenizer, config),
        padding_side=tokenizer.padding_side,
        pad_id=pad_id,
        pad_token=str(plain.id_to_token(pad_id)),
        pad_type_id=tokenizer.pad_token_type_id,
        mask_token=tokenizer.mask_token,
    )
    _prove_tokenizer(tokenizer, TextTokenizer(folder / TOKENIZER, record))
    return record


def _pad_id(tokenizer: Any, config: Any, plain: Any) -> int:
    """Returns the token to pad with: the one that the model itself takes for padding, else the tokenizer's.

    The model's counts, since a decoder with a head reads the last token that isn't padding.
    """
    known = [getattr(config, "pad_token_id", None), tokenizer.pad_token_id, tokenizer.eos_token_id]
    for candidate in known:
        if isinstance(candidate, int) and candidate >= 0 and plain.id_to_token(candidate) is not None:
            return candidate
    raise UnsupportedError(
        f"{type(tokenizer).__name__} has neither a padding token nor an end token, so texts can't share a batch.\n"
        "Set tokenizer.pad_token and save it with the base."
    )


def _max_length(tokenizer: Any, config: Any) -> int:
    """Returns the tokens of the longest text that tokenizer and model take, special tokens included."""
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < _INSANE else []
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        offset = (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_POSITIONS else 0
        limits.append(positions - offset)
    return min(limits, default=NO_LIMIT)


def _prove_tokenizer(tokenizer: Any, written: TextTokenizer) -> None:
    """Compares token ids and types of what was written with the tokenizer's own, on texts and on pairs."""
    texts = tasks.get("text-classification").SAMPLES
    samples: list[tasks.Text] = [*texts, *tasks.get("question-answering").SAMPLES]
    for sample, tokens in zip(samples, written.tokens(samples), strict=True):
        halves = (sample,) if isinstance(sample, str) else sample
        expected = tokenizer(*halves, truncation=True, max_length=written.max_length)
        same = expected["input_ids"] == tokens.ids.tolist()
        if not same or expected.get("token_type_ids", tokens.type_ids.tolist()) != tokens.type_ids.tolist():
            raise UnsupportedError(
                f"{type(tokenizer).__name__} does more than its tokenizer.json says:\n"
                f"  text: {' / '.join(halves):.80}\n"
                f"  got:      {tokens.ids.tolist()[:12]}\n"
                f"  expected: {expected['input_ids'][:12]}\n"
                "Run the bundle with token ids of your own, or take a base with a plain fast tokenizer."
            )


def image_record(processor: Any) -> ImageRecord:
    """Returns an image processor's record, proven on the tasks' pictures.

    Raises:
        UnsupportedError: It takes a step that the runtime lacks, by name, or its images differ from the runtime's.
    """
    settings: Mapping[str, Any] = processor.to_dict()
    name = type(processor).__name__
    steps = {key for key, value in settings.items() if key.startswith("do_") and value}
    problems = [f"{step}: not done by the runtime" for step in sorted(steps - _IMAGE_STEPS - _LABEL_STEPS)]
    size = {key: int(value) for key, value in dict(settings.get("size") or {}).items() if value is not None}
    crop = _sides(settings.get("crop_size")) if "do_center_crop" in steps else None
    if "do_resize" not in steps:
        problems.append("do_resize: off, so images would have any size")
    elif set(size) not in ({"height", "width"}, {"shortest_edge"}):
        problems.append(f"size: got {size}, expected height and width, or shortest_edge")
    elif crop is None and "shortest_edge" in size:
        problems.append("size: shortest_edge without do_center_crop, so images would have any size")
    if problems:
        raise UnsupportedError.collect(
            f"{name} prepares images in a way that can't be exported:",
            problems,
            "Run the bundle with pixels of your own.",
        )
    height, width = crop if crop is not None else (size["height"], size["width"])
    normalizes = "do_normalize" in steps
    record = ImageRecord(
        height=height,
        width=width,
        resize=size,
        resample=int(settings["resample"]),
        crop=crop,
        rescale=float(settings["rescale_factor"]) if "do_rescale" in steps else 1.0,
        mean=_channels(settings["image_mean"]) if normalizes else (0.0, 0.0, 0.0),
        std=_channels(settings["image_std"]) if normalizes else (1.0, 1.0, 1.0),
    )
    _prove_images(processor, record)
    return record


def _sides(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))


def _channels(values: Any) -> tuple[float, ...]:
    return (float(values),) * 3 if isinstance(values, (int, float)) else tuple(float(value) for value in values)


def _prove_images(processor: Any, record: ImageRecord) -> None:
    from PIL import Image

    pictures: tuple[Array, ...] = tasks.get("image-classification").SAMPLES
    for picture in pictures:
        expected = np.asarray(processor(images=Image.fromarray(picture), return_tensors="np")["pixel_values"][0])
        got = pixel_values(open_image(picture), record)
        error = float(np.abs(got - expected).max()) if got.shape == expected.shape else np.inf
        if error > _TOLERANCE:
            raise UnsupportedError(
                f"{type(processor).__name__} prepares images otherwise than its settings say. "
                f"An image of {picture.shape[1]} x {picture.shape[0]} pixels:\n"
                f"  got {got.shape}, expected {expected.shape}, largest difference {error:.2g}\n"
                "Load it with PIL (backend='pil', or use_fast=False in transformers 4)."
            )
