"""What `edgeadapt.json` and `adapter.json` hold: one record a JSON object, one field a key, in the order written.

A field's type says what JSON value it takes; the rules that a type can't say are `Annotated` beside it, and the rules
between fields are in `consistency.py`. `docs/bundle-format.md` is the specification, `schema/` the JSON Schemas.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from edgeadapt.bundle.names import name_problem, path_problem

FORMAT = "1.0"
"""The version of the bundle format that this package writes, and reads."""

ENCODER_FORMAT = "1.1"
"""The version of a manifest with an encoder, which readers of 1.0 refuse."""

DTYPES = (
    "bool",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)
"""The names a `dtype` can have: numpy's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be beyond its type: `holds` tests it, `expected` says it in an error."""

    holds: Callable[[Any], bool]
    expected: str


def _pattern(expression: str, expected: str) -> Rule:
    compiled = re.compile(expression)
    return Rule(lambda text: compiled.fullmatch(text) is not None, expected)


Text = Annotated[str, Rule(lambda text: text != "", "text that is not empty")]
Size = Annotated[int, Rule(lambda number: number >= 0, "a number of 0 or more")]
Count = Annotated[int, Rule(lambda number: number >= 1, "a number of 1 or more")]
Dtype = Annotated[str, Rule(lambda name: name in DTYPES, f"one of {', '.join(DTYPES)}")]
Sha256 = Annotated[str, _pattern("[0-9a-f]{64}", "a sha256 of 64 lowercase hex digits")]
Fingerprint = Annotated[str, _pattern("sha256:[0-9a-f]{64}", "'sha256:' and 64 lowercase hex digits")]
FilePath = Annotated[str, Rule(lambda path: not path_problem(path), "a relative path with / and no '..'")]
AdapterName = Annotated[str, Rule(lambda name: not name_problem(name), "a safe name for an adapter")]
Labels = Annotated[tuple[str, ...], Rule(lambda labels: len(labels) > 0, "one label or more")]
ProblemType: TypeAlias = Literal["regression", "single_label_classification", "multi_label_classification"]
"""What a head was trained to answer, as transformers names it; None where its configuration doesn't say."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file: its size in bytes and its sha256 in lowercase hex."""

    bytes: Size
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Neutral:
    """A neutral that is one number all over: an array of `shape` filled with `fill`."""

    shape: tuple[Count, ...]
    fill: float


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """One input or output of the model; a free dimension has a name instead of a number."""

    name: Text
    dtype: Dtype
    shape: tuple[Size | Text, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One graph input that takes one param of one site.

    `shape[0]` is `"rows"` (1, or the batch size for an array of its own for each row) or the integer 1: this slot
    can't differ between the rows of one run. The other dimensions are numbers, `"rank"` (one symbol a site) or
    `"labels"`. The `neutral` is what an adapter without this param is given: a filled array, `"stored"` (the array of
    this name in the file `model.neutrals`), or None where the base has no value of its own and every adapter must
    bring one.
    """

    name: Text
    method: Text
    site: str
    param: Text
    dtype: Dtype
    shape: tuple[Count | Literal["rows", "rank", "labels"], ...]
    neutral: Neutral | Literal["stored"] | None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The switchable model: its file, precision (`fp32`), ai.onnx opset, and the ONNX Runtime it needs (`>=1.23`).

    `neutrals` is the file of the arrays of all slots whose neutral is stored, or None where there are none.
    """

    file: FilePath
    neutrals: FilePath | None
    precision: Text
    opset: Count
    onnxruntime: Annotated[str, _pattern(r">=[0-9]+\.[0-9]+(\.[0-9]+)?", "'>=' and a version, such as '>=1.23'")]


@dataclass(frozen=True, slots=True)
class TokenizerRecord:
    """How a pipeline tokenizes: the tokenizers file, the length it cuts at, and how it pads."""

    file: FilePath
    max_length: Count
    padding_side: Literal["right", "left"]
    pad_id: Size
    pad_token: str
    pad_type_id: Size
    mask_token: str | None


def _is_resize(sizes: dict[str, int]) -> bool:
    return set(sizes) in ({"height", "width"}, {"shortest_edge"})


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """How a pipeline prepares an image: resize, cut out the centre, `(value * rescale - mean) / std` a channel.

    `resize` is `{"height": h, "width": w}` or `{"shortest_edge": n}`, in pixels; `resample` is PIL's code (2 is
    bilinear, 3 bicubic); `crop` is `(height, width)`; `height` and `width` are what the model is given.
    """

    height: Count
    width: Count
    resize: Annotated[dict[str, Count], Rule(_is_resize, "the keys height and width, or shortest_edge")]
    resample: Annotated[int, Rule(lambda code: 0 <= code <= 5, "PIL's code of a filter, 0 to 5")]
    crop: tuple[Count, Count] | None
    rescale: float
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Rule(lambda number: number > 0, "a number over 0")], ...]


@dataclass(frozen=True, slots=True)
class ChatRecord:
    """How a conversation becomes a prompt: a file with a Jinja template, and the special tokens that it may write.

    `tokens` has their texts by the names that templates know them by: `{"bos_token": "<s>"}`.
    """

    file: FilePath
    tokens: dict[Text, str]


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """How a decoder is run step by step.

    `eos_ids` are the tokens that end a text; `positions` is how many tokens the model takes, or None where it knows no
    limit; `chat` is None where the base has no template for conversations.
    """

    eos_ids: tuple[Size, ...]
    positions: Count | None
    chat: ChatRecord | None


@dataclass(frozen=True, slots=True)
class EncoderRecord:
    """The model that reads what is to be answered, once, before the decoder (`model.file`) writes.

    `outputs` are the keys and values of the decoder's cross-attention: each `encoded.<n>.key` is what the decoder takes
    as `encoder_key_values.<n>.key`. `positions` is how many tokens it reads, or None where it knows no limit.
    """

    file: FilePath
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    positions: Count | None


@dataclass(frozen=True, slots=True)
class RulesRecord:
    """What the base's generation configuration holds every next token to, in transformers' words.

    Lengths count the decoder's own tokens, those that it begins with included (`min_new_tokens` without them).
    `begin_suppress_tokens` may not be the first new token. 0, 1.0, None and empty lists change nothing.
    """

    repetition_penalty: Annotated[float, Rule(lambda number: number > 0, "a number over 0")]
    no_repeat_ngram_size: Size
    min_length: Size
    min_new_tokens: Size
    forced_bos_token_id: Size | None
    forced_eos_token_ids: tuple[Size, ...]
    suppress_tokens: tuple[Size, ...]
    begin_suppress_tokens: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class SpeechRecord:
    """How Whisper hears: waves of `sampling_rate` Hz, cut or padded with silence to `samples`, as `mels` bands.

    A spectrum of `fft` samples is taken every `hop` samples. A decoder begins with its start token, the tokens of a
    language and of a task (both empty where the base knows one language only), and `no_timestamps`.
    """

    sampling_rate: Count
    samples: Count
    fft: Count
    hop: Count
    mels: Count
    languages: dict[Text, Size]
    tasks: dict[Text, Size]
    no_timestamps: Size


@dataclass(frozen=True, slots=True)
class EncoderDecoderRecord:
    """How an encoder and its decoder are run: the encoder once, the decoder step by step from `start_ids` on.

    `eos_ids` end a text; `positions` is how many tokens the decoder takes, or None where it knows no limit. `speech`
    is None where the encoder reads texts.
    """

    eos_ids: tuple[Size, ...]
    positions: Count | None
    start_ids: Annotated[tuple[Size, ...], Rule(lambda ids: len(ids) > 0, "one token or more")]
    rules: RulesRecord
    encoder: EncoderRecord
    speech: SpeechRecord | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """`edgeadapt.json`: what the bundle is, how its model is called, and every file of its top folder but itself.

    `labels` and `problem_type` are the base's own, None where the base has no head that PyTorch trained.
    `generation` is there for a decoder with a cache; where that has an encoder, `format` is 1.1.
    """

    format: str
    producer: Text
    task: Text
    model_type: Text
    fingerprint: Fingerprint
    model: ModelRecord
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    slots: tuple[Slot, ...]
    labels: Labels | None
    problem_type: ProblemType | None
    tokenizer: TokenizerRecord | None
    image: ImageRecord | None
    generation: GenerationRecord | EncoderDecoderRecord | None
    files: dict[FilePath, FileRecord]


@dataclass(frozen=True, slots=True)
class ParityRecord:
    """How near the exported adapter came to PyTorch (`reference` has the versions) on the inputs of `parity.npz`.

    `max_abs_error` was held to `tolerance`; `effect` is how far the adapter moves the outputs from the base's (0 for
    the base); `top1_agreement` is None for a task without classes.
    """

    reference: Text
    max_abs_error: float
    effect: float
    cosine: float
    top1_agreement: float | None
    tolerance: float


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """`adapter.json`: one adapter, the base it needs, and every file of its folder but itself.

    `sites` maps site to method to the facts of that method there, `{"rank": 8}` or `{}`. `labels` and `problem_type`
    are those of its own head. `source` says where the adapter came from and means nothing to a runtime. `parity` is
    None where PyTorch was not there to compare with.
    """

    format: str
    name: AdapterName
    method: Text
    fingerprint: Fingerprint
    sites: dict[str, dict[Text, Annotated[dict[str, Count], Rule(lambda facts: set(facts) <= {"rank"}, "only 'rank'")]]]
    labels: Labels | None
    problem_type: ProblemType | None
    source: dict[str, Any]
    parity: ParityRecord | None
    files: dict[FilePath, FileRecord]
