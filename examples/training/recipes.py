"""What decides each adapter: its data, its labels, its method, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from training.banking import LABELS as BANKING
from training.settings import LORA_DROPOUT

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
class Lora:
    """A LoRA of PEFT.

    Attributes:
        targets: PEFT module names, or one regular expression that matches the whole module path.
        rank: `r`.
        alpha: Updates are scaled by `alpha / rank`.
        dora: The weights keep a trained length (DoRA).
        dropout: Share of a LoRA's inputs that a step of training leaves out.
    """

    targets: tuple[str, ...] | str
    rank: int
    alpha: int
    dora: bool = False
    dropout: float = LORA_DROPOUT

    def __str__(self) -> str:
        """Say it in one line."""
        return f"rank {self.rank}, alpha {self.alpha}, dropout {self.dropout:g}"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A Pfeiffer bottleneck of AdapterHub (`seq_bn`): after the feed-forward block of every layer.

    Attributes:
        reduction_factor: The hidden size over the block's own.
    """

    reduction_factor: int

    def __str__(self) -> str:
        """Say it in one line."""
        return f"reduction factor {self.reduction_factor}"


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
        method: What is trained beside the classifier.
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
    method: Lora | Bottleneck
    epochs: int
    learning_rate: float
    dtype: torch.dtype


REVIEWS = Source(
    train="vader_amazon.jsonl",
    held_out=None,
    credit="Amazon review snippets of vaderSentiment, C. J. Hutto and E. Gilbert (ICWSM 2014), "
    "<https://github.com/cjhutto/vaderSentiment>",
    licence="MIT",
    licence_id="mit",
    preparation="A sentence's label is the sign of its mean rating by people; sentences with a mean between "
    "-0.5 and 0.5 are neutral.",
)

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
        method=Lora(("query", "value"), rank=8, alpha=16),
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
        method=Lora(("query", "value"), rank=8, alpha=16),
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
        source=REVIEWS,
        labels=("negative", "positive"),
        positive=None,
        method=Lora(ENCODER_LINEARS, rank=16, alpha=32),
        epochs=4,
        learning_rate=5e-4,
        dtype=torch.float16,  # half the bytes: six linears in each of six layers would be 2.7 MB in fp32
    ),
    Recipe(
        name="banking",
        purpose="Names which of 77 requests a customer of a bank makes in an English chat message.",
        limitations=(
            "Every message gets one of the 77 requests: there is no class for anything else. Several of them differ "
            "in a detail (`card_arrival`, `card_delivery_estimate`), and their rows were labelled by one team."
        ),
        source=Source(
            train="banking77_train.jsonl",
            held_out="banking77_test.jsonl",
            credit="BANKING77, I. Casanueva et al. ([arXiv:2003.04807](https://arxiv.org/abs/2003.04807))",
            licence="CC BY 4.0",
            licence_id="cc-by-4.0",
            preparation="The benchmark's own test rows are held out.",
        ),
        labels=BANKING,
        positive=None,
        method=Bottleneck(reduction_factor=16),
        epochs=8,
        learning_rate=2e-3,
        dtype=torch.float32,
    ),
    Recipe(
        name="tones",
        purpose="Tells whether an English sentence from a product review is `negative`, `neutral` or `positive`.",
        limitations=(
            "The reviews are of a few kinds of electronics, and `neutral` is the rarest class. Rows were split by "
            "sentence, so a held-out sentence may come from the same review as a training sentence."
        ),
        source=REVIEWS,
        labels=("negative", "neutral", "positive"),
        positive=None,
        method=Lora(("query", "value"), rank=8, alpha=16, dora=True),
        epochs=4,
        learning_rate=1e-3,
        dtype=torch.float32,
    ),
)
