"""Train the three example adapters: `spam`, `intents` and `reviews`, LoRA with PEFT on all-MiniLM-L6-v2.

Each adapter is trained, written to its folder, loaded again from there onto a fresh base, and measured on rows it
has never seen; the model card reports that measurement, so it speaks of the files as they are shipped.

The data are JSON Lines, `{"text": ..., "label": ...}` a line, and are not part of this repository:

| file | source |
|---|---|
| `sms_spam.jsonl` | SMS Spam Collection (UCI) |
| `snips_train.jsonl`, `snips_valid.jsonl` | Snips NLU benchmark, 2017-06-custom-intent-engines |
| `vader_amazon.jsonl` | vaderSentiment, `amazonReviewSnippets_GroundTruth.txt` |

Example:
    python examples/train_adapters.py --base all-MiniLM-L6-v2 --data data --only spam
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from rich.progress import track
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoTokenizer, BatchEncoding, BertForSequenceClassification, PreTrainedTokenizerBase

BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SEED = 2024
HELD_OUT_SHARE = 0.15
MAX_TOKENS = 128
BATCH_ROWS = 32
BUCKET_BATCHES = 16
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0
LORA_DROPOUT = 0.1
HEAD = "classifier"

ENCODER_LINEARS = r".*\.encoder\.layer\.\d+\.(.+\.)?(query|key|value|dense)"  # the pooler lies outside


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows of an adapter come from.

    Attributes:
        train: File name of the rows to train on.
        held_out: File name of the rows to measure on; `None` splits `train`.
        credit: Title, authors and address, as the card prints them.
        licence: Licence in words.
        licence_id: Licence as the Hugging Face hub spells it.
        preparation: What is done to the rows before training, one sentence or more.
    """

    train: str
    held_out: str | None
    credit: str
    licence: str
    licence_id: str
    preparation: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides one adapter, apart from the settings that every recipe shares.

    Attributes:
        name: Folder name.
        purpose: What the adapter does, one sentence.
        limitations: What it does badly, or was never shown.
        source: Its data.
        labels: Class names in the order of their ids; rows with another label are left out.
        positive: The class whose F1 is reported as well, if any.
        targets: PEFT module names, or one regular expression that matches the whole module path.
        rank: LoRA rank `r`.
        alpha: LoRA alpha; updates are scaled by `alpha / rank`.
        epochs: Passes over the training rows.
        learning_rate: Peak of the schedule.
        dtype: Precision in which the weights are stored; training is fp32 always.
    """

    name: str
    purpose: str
    limitations: str
    source: Source
    labels: tuple[str, ...]
    positive: str | None
    targets: tuple[str, ...] | str
    rank: int
    alpha: int
    epochs: int
    learning_rate: float
    dtype: torch.dtype


RECIPES = (
    Recipe(
        name="spam",
        purpose="Tells advertising and fraud (`spam`) from personal messages (`ham`) among English text messages.",
        limitations=(
            "The messages were collected in Britain and Singapore before 2012: numbers, prices and abbreviations of "
            "that time carry much of the signal. E-mail and today's phishing were never seen."
        ),
        source=Source(
            train="sms_spam.jsonl",
            held_out=None,
            credit="SMS Spam Collection, T. A. Almeida and J. M. Gómez Hidalgo, UCI Machine Learning Repository, "
            "<https://doi.org/10.24432/C5CC84>",
            licence="CC BY 4.0",
            licence_id="cc-by-4.0",
            preparation="Messages that an unpaired quotation mark had glued together were taken apart again.",
        ),
        labels=("ham", "spam"),
        positive="spam",
        targets=("query", "value"),
        rank=8,
        alpha=16,
        epochs=4,
        learning_rate=1e-3,
        dtype=torch.float32,
    ),
    Recipe(
        name="intents",
        purpose="Names which of seven requests to a voice assistant an English sentence makes.",
        limitations=(
            "Every sentence gets one of the seven intents: there is no class for anything else. The sentences were "
            "written by crowd workers, not transcribed from speech."
        ),
        source=Source(
            train="snips_train.jsonl",
            held_out="snips_valid.jsonl",
            credit="Snips NLU benchmark, 2017-06-custom-intent-engines, A. Coucke et al. "
            "([arXiv:1805.10190](https://arxiv.org/abs/1805.10190)), <https://github.com/sonos/nlu-benchmark>",
            licence="CC0 1.0",
            licence_id="cc0-1.0",
            preparation="The small training set, 300 sentences an intent, is used. The benchmark's own validation rows "
            "are held out; training rows that repeat one of them were removed.",
        ),
        labels=(
            "AddToPlaylist",
            "BookRestaurant",
            "GetWeather",
            "PlayMusic",
            "RateBook",
            "SearchCreativeWork",
            "SearchScreeningEvent",
        ),
        positive=None,
        targets=("query", "value"),
        rank=8,
        alpha=16,
        epochs=4,
        learning_rate=1e-3,
        dtype=torch.float32,
    ),
    Recipe(
        name="reviews",
        purpose="Tells whether an English sentence from a product review is `negative` or `positive`.",
        limitations=(
            "There is no neutral class, and the reviews are of a few kinds of electronics. Rows were split by "
            "sentence, so a held-out sentence may come from the same review as a training sentence."
        ),
        source=Source(
            train="vader_amazon.jsonl",
            held_out=None,
            credit="Amazon review snippets of vaderSentiment, C. J. Hutto and E. Gilbert (ICWSM 2014), "
            "<https://github.com/cjhutto/vaderSentiment>",
            licence="MIT",
            licence_id="mit",
            preparation="A sentence's label is the sign of its mean rating by people; neutral sentences (mean between "
            "-0.5 and 0.5) were left out.",
        ),
        labels=("negative", "positive"),
        positive=None,
        targets=ENCODER_LINEARS,
        rank=16,
        alpha=32,
        epochs=4,
        learning_rate=5e-4,
        dtype=torch.float16,  # half the bytes: six linears in each of six layers would be 2.7 MB in fp32
    ),
)


# ---------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class Row:
    """One text with its class.

    Attributes:
        text: As it stands in the file.
        label: Id of the class: its place in `Recipe.labels`.
    """

    text: str
    label: int


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to train on, and rows only to measure on; no text is in both."""

    train: list[Row]
    held_out: list[Row]


def read_rows(path: Path, labels: Sequence[str]) -> Iterator[Row]:
    r"""Yield the rows of a JSON Lines file whose label is among `labels`.

    The tab-separated original of the SMS collection opens quotation marks that it never closes, so readers swallow
    the lines up to the next mark: such a text holds `\n<label>\t<text>` once or more, and is taken apart here.

    Args:
        path: File of `{"text", "label"}` lines.
        labels: Class names in the order of their ids.

    Raises:
        click.ClickException: The file is not there.
    """
    if not path.is_file():
        raise click.ClickException(f"No file '{path.name}' in {path.parent}.\nName the folder that has it by --data.")
    ids = {label: number for number, label in enumerate(labels)}
    swallowed_line = re.compile(rf"\n({'|'.join(map(re.escape, labels))})\t")
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            first, *rest = swallowed_line.split(record["text"])
            for label, text in [(record["label"], first), *zip(rest[::2], rest[1::2], strict=True)]:
                if label in ids:
                    yield Row(text, ids[label])


def drop_repeats(rows: Iterable[Row], known: Iterable[Row] = ()) -> list[Row]:
    """Keep the first row of each text, and none whose text is in `known`; case and whitespace do not count."""
    seen = {normalise(row.text) for row in known}
    kept = []
    for row in rows:
        key = normalise(row.text)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def normalise(text: str) -> str:
    """Fold case and runs of whitespace away."""
    return " ".join(text.split()).casefold()


def split_by_class(rows: Sequence[Row], share: float, rng: np.random.Generator) -> Split:
    """Hold out the same `share` of every class, drawn at random."""
    by_class: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_class[row.label].append(row)
    train: list[Row] = []
    held_out: list[Row] = []
    for _, members in sorted(by_class.items()):
        shuffled = [members[place] for place in rng.permutation(len(members))]
        cut = round(share * len(shuffled))
        held_out += shuffled[:cut]
        train += shuffled[cut:]
    return Split(train, held_out)


def load_split(recipe: Recipe, data: Path) -> Split:
    """Read a recipe's rows, drop repeated texts, and only then hold some out."""
    source = recipe.source
    rows = read_rows(data / source.train, recipe.labels)
    if source.held_out is None:
        return split_by_class(drop_repeats(rows), HELD_OUT_SHARE, np.random.default_rng(SEED))
    held_out = drop_repeats(read_rows(data / source.held_out, recipe.labels))
    return Split(drop_repeats(rows, known=held_out), held_out)


# ------------------------------------------------------------------------------------------------- batches


def bucket(lengths: Sequence[int], rng: np.random.Generator) -> list[list[int]]:
    """Deal row numbers into batches of like length, in random order.

    Rows are shuffled, `BUCKET_BATCHES` batches' worth of them sorted by length at a time, and the batches shuffled
    again: little padding, and still other neighbours in every epoch.
    """
    order = rng.permutation(len(lengths)).tolist()
    pool = BATCH_ROWS * BUCKET_BATCHES
    batches = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [rows[first : first + BATCH_ROWS] for first in range(0, len(rows), BATCH_ROWS)]
    return [batches[place] for place in rng.permutation(len(batches))]


def make_batches(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, rng: np.random.Generator
) -> Iterator[tuple[BatchEncoding, torch.Tensor]]:
    """Yield every row once, in length-bucketed batches padded to their longest row.

    Yields:
        The model's inputs, `input_ids` and `attention_mask`, int64 `(rows, tokens)`; and class ids, int64 `(rows,)`.
    """
    token_ids = tokenizer([row.text for row in rows], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    for members in bucket([len(ids) for ids in token_ids], rng):
        inputs = tokenizer.pad({"input_ids": [token_ids[row] for row in members]}, return_tensors="pt")
        yield inputs, torch.tensor([rows[row].label for row in members])


# ------------------------------------------------------------------------------------------------ training


def load_base(base: Path, labels: Sequence[str]) -> BertForSequenceClassification:
    """Load the base network with a fresh classifier over `labels`."""
    return BertForSequenceClassification.from_pretrained(base, num_labels=len(labels))


def attach_lora(recipe: Recipe, base: Path) -> PeftModel:
    """Put the recipe's untrained LoRA and classifier onto the base."""
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=LORA_DROPOUT,
        target_modules=recipe.targets if isinstance(recipe.targets, str) else list(recipe.targets),
        modules_to_save=[HEAD],
    )
    return get_peft_model(load_base(base, recipe.labels), config)


def train(recipe: Recipe, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, base: Path) -> PeftModel:
    """Train one adapter: AdamW, cross-entropy, a linear schedule with warm-up, a fixed number of epochs."""
    transformers.set_seed(SEED)  # Python, numpy and torch
    rng = np.random.default_rng(SEED)
    model = attach_lora(recipe, base).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY)
    steps = recipe.epochs * -(-len(rows) // BATCH_ROWS)
    warmup = round(WARMUP_SHARE * steps)
    schedule = LambdaLR(optimiser, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup)))
    batches = (batch for _ in range(recipe.epochs) for batch in make_batches(rows, tokenizer, rng))
    for inputs, labels in track(batches, description=recipe.name, total=steps):
        loss = torch.nn.functional.cross_entropy(model(**inputs).logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    return model.eval()


# ----------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True, slots=True)
class Score:
    """What an adapter reaches on held-out rows.

    Attributes:
        rows: How many rows were measured.
        accuracy: Share of rows whose class was found.
        baseline: Accuracy of always answering the most frequent class.
        f1: F1 of the recipe's positive class, where it names one.
    """

    rows: int
    accuracy: float
    baseline: float
    f1: float | None

    def __str__(self) -> str:
        """Say it in one line."""
        f1 = "" if self.f1 is None else f", F1 {self.f1:.4f}"
        return f"accuracy {self.accuracy:.4f} of {self.rows} rows (most frequent class {self.baseline:.4f}){f1}"


def load_adapter(folder: Path, base: Path, labels: Sequence[str]) -> PeftModel:
    """Load a stored adapter onto a fresh base."""
    return PeftModel.from_pretrained(load_base(base, labels), str(folder)).eval()


@torch.inference_mode()
def measure(
    model: PeftModel, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, positive: int | None = None
) -> Score:
    """Classify rows and count.

    Args:
        model: Network with an adapter, in evaluation mode.
        rows: Rows the adapter was not trained on.
        tokenizer: The base's tokenizer.
        positive: Class id whose F1 is wanted.
    """
    pairs: Counter[tuple[int, int]] = Counter()  # (predicted, true)
    for inputs, labels in make_batches(rows, tokenizer, np.random.default_rng(SEED)):
        predicted = model(**inputs).logits.argmax(dim=-1)
        pairs.update(zip(predicted.tolist(), labels.tolist(), strict=True))
    right = sum(count for (predicted, true), count in pairs.items() if predicted == true)
    most_frequent = max(Counter(row.label for row in rows).values())
    return Score(
        rows=len(rows),
        accuracy=right / len(rows),
        baseline=most_frequent / len(rows),
        f1=None if positive is None else f1(pairs, positive),
    )


def f1(pairs: Counter[tuple[int, int]], positive: int) -> float:
    """Return F1 = 2 TP / (2 TP + FP + FN) of one class from counts of (predicted, true)."""
    mentions = sum(count * ((predicted == positive) + (true == positive)) for (predicted, true), count in pairs.items())
    return 2 * pairs[positive, positive] / mentions


# ------------------------------------------------------------------------------------------------- storing


def save(model: PeftModel, recipe: Recipe, folder: Path) -> None:
    """Write `adapter_model.safetensors`, `adapter_config.json` and `config.json`.

    The configuration names the base by its public name, not by the folder it was read from. Its lists lose what PEFT
    adds to them (`score`, repeats) and get an order, so that two runs write the same bytes.
    """
    model.peft_config["default"].base_model_name_or_path = BASE_MODEL
    model.to(recipe.dtype).save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors lets only the owner read
    settings_file = folder / "adapter_config.json"
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    settings["modules_to_save"] = [HEAD]
    if not isinstance(recipe.targets, str):
        settings["target_modules"] = sorted(recipe.targets)
    write_json(settings_file, settings)
    ids = {label: number for number, label in enumerate(recipe.labels)}
    names = {str(number): label for label, number in ids.items()}
    labels = {"model_type": "bert", "num_labels": len(ids), "id2label": names, "label2id": ids}
    write_json(folder / "config.json", labels)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON that ends with a newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def card(recipe: Recipe, split: Split, score: Score, parameters: int) -> str:
    """Return the model card: what the adapter does, how it was made, and what it reached."""
    source = recipe.source
    libraries = (torch, transformers, peft)
    versions = ", ".join(f"{library.__name__} {library.__version__.split('+')[0]}" for library in libraries)
    targets = (recipe.targets,) if isinstance(recipe.targets, str) else recipe.targets
    split_kind = (
        f"{1 - HELD_OUT_SHARE:.0%} / {HELD_OUT_SHARE:.0%}, stratified by class, seed {SEED}"
        if source.held_out is None
        else "as published"
    )
    f1_row = "" if score.f1 is None else f"\n| F1 of `{recipe.positive}` | {score.f1:.4f} |"
    return f"""\
---
base_model: {BASE_MODEL}
library_name: peft
pipeline_tag: text-classification
license: {source.licence_id}
language: en
metrics: [{"accuracy" if score.f1 is None else "accuracy, f1"}]
tags: [lora]
---

# {recipe.name}

{recipe.purpose}
A LoRA adapter with its own classifier for [{BASE_MODEL}](https://huggingface.co/{BASE_MODEL}) (Apache-2.0),
trained as `BertForSequenceClassification`. Classes: {inline(recipe.labels)}.

```python
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

base = AutoModelForSequenceClassification.from_pretrained("{BASE_MODEL}", num_labels={len(recipe.labels)})
model = PeftModel.from_pretrained(base, "examples/adapters/{recipe.name}").eval()
```

## Result

Measured on the stored files, loaded onto a fresh base, on rows that took no part in training:

| measure | value |
|---|---|
| held-out rows | {score.rows:,} |
| accuracy | {score.accuracy:.4f} |
| accuracy of always answering the most frequent class | {score.baseline:.4f} |{f1_row}

## Data

{source.credit}. Licence: {source.licence}. The data are not part of this repository.

{source.preparation} Texts equal up to case and whitespace were reduced to one before splitting.
Rows: {len(split.train):,} to train on, {len(split.held_out):,} held out ({split_kind}).

## Training

| setting | value |
|---|---|
| LoRA | rank {recipe.rank}, alpha {recipe.alpha}, dropout {LORA_DROPOUT} |
| target modules | {inline(targets)} |
| trained whole | `{HEAD}` |
| trained parameters | {parameters:,} |
| optimiser | AdamW, weight decay {WEIGHT_DECAY}, gradient norm at most {MAX_GRADIENT_NORM} |
| learning rate | {recipe.learning_rate:g}, linear, {WARMUP_SHARE:.0%} warm-up |
| epochs | {recipe.epochs}, the last one is kept |
| batch | {BATCH_ROWS} rows of like length, at most {MAX_TOKENS} tokens a row |
| precision | trained in float32, stored in {str(recipe.dtype).removeprefix("torch.")} |
| versions | {versions} |

With the base and the data in local folders, this command makes the adapter anew:

```bash
python examples/train_adapters.py --base all-MiniLM-L6-v2 --data data --only {recipe.name}
```

## Limitations

{recipe.limitations}
"""


def inline(names: Iterable[str]) -> str:
    """Join names as inline code that may stand in a table."""
    return ", ".join(f"`{name}`" for name in names).replace("|", r"\|")


# ---------------------------------------------------------------------------------------------- the command


def make_adapter(recipe: Recipe, base: Path, data: Path, out: Path) -> Score:
    """Train, store, reload and measure one adapter, then write its card."""
    split = load_split(recipe, data)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = train(recipe, split.train, tokenizer, base)
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    folder = out / recipe.name
    save(model, recipe, folder)
    positive = None if recipe.positive is None else recipe.labels.index(recipe.positive)
    score = measure(load_adapter(folder, base, recipe.labels), split.held_out, tokenizer, positive)
    (folder / "README.md").write_text(card(recipe, split, score, parameters), encoding="utf-8")
    return score


def hush_transformers() -> None:
    """Silence the warning that the classifier is new, which is the point, and the bar for loading a small file."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    epilog="Example: python examples/train_adapters.py --base all-MiniLM-L6-v2 --data data --only spam --only intents"
)
@click.option("--base", type=FOLDER, required=True, help="Folder of all-MiniLM-L6-v2: weights and tokenizer.")
@click.option("--data", type=FOLDER, required=True, help="Folder of the .jsonl files.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("examples/adapters"),
    show_default=True,
    help="Folder that gets one folder for each adapter.",
)
@click.option(
    "--only",
    type=click.Choice([recipe.name for recipe in RECIPES]),
    multiple=True,
    help="Train this adapter; may be repeated. Default: all.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="CPU threads. Another number adds in another order, and ends in slightly other weights.",
)
def main(base: Path, data: Path, out: Path, only: tuple[str, ...], threads: int) -> None:
    """Train the example adapters and write their model cards."""
    torch.set_num_threads(threads)
    hush_transformers()
    for recipe in RECIPES:
        if not only or recipe.name in only:
            start = time.perf_counter()
            score = make_adapter(recipe, base, data, out)
            click.echo(f"{out / recipe.name}: {score}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
