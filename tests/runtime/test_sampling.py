"""The choice of next tokens, against the live classes and the live `generate` of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessorList
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from edgeadapt.errors import ConfigError, InputError
from edgeadapt.runtime.sampling import Sampler, Sampling, kept, scored
from tests.runtime.tiny_bundle import Array

ROUNDING = 1e-6
"""What a sum of float32 probabilities may be off by."""


def random_logits(vocabulary: int, scale: float = 3.0, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).standard_normal(vocabulary) * scale).astype(np.float32)


LOGITS = {
    "two": random_logits(2),
    "few": random_logits(7),
    "more": random_logits(1000),
    "peaked": random_logits(1000, scale=30),
    "flat": random_logits(1000, scale=0.01),
    "model-sized": random_logits(50257),
    "model-sized-flat": random_logits(50257, scale=0.2),
    "ties": np.round(random_logits(1000)),
    "equal": np.zeros(64, np.float32),
    "extreme": np.array([-3e38, -np.inf, 5e30, 1.0, -1.0, 0.0, -0.0, 1e-40, 4.9e30], np.float32),
    "masked": np.where(np.arange(1000) % 3, np.float32(-np.inf), random_logits(1000)),
}
SAMPLINGS = {
    "plain": Sampling(temperature=1.0),
    "cool": Sampling(temperature=0.3),
    "hot": Sampling(temperature=1.7),
    "penalty": Sampling(temperature=1.0, repetition_penalty=1.3),
    "reward": Sampling(temperature=0.9, repetition_penalty=0.7),
    "greedy-penalty": Sampling(repetition_penalty=1.3),
    "top-1": Sampling(temperature=1.0, top_k=1),
    "top-k": Sampling(temperature=0.7, top_k=20),
    "top-all": Sampling(temperature=1.0, top_k=10**6),
    "top-p": Sampling(temperature=1.0, top_p=0.9),
    "top-p-half": Sampling(temperature=1.3, top_p=0.5),
    "top-p-tiny": Sampling(temperature=1.0, top_p=1e-9),
    "top-p-most": Sampling(temperature=1.0, top_p=0.99),
    "top-p-all": Sampling(temperature=1.0, top_p=1.0),
    "everything": Sampling(temperature=0.8, top_k=50, top_p=0.85, repetition_penalty=1.2),
}


def reference(logits: Array, seen: Array, sampling: Sampling) -> Array:
    """What transformers' own processors make of a row's logits, in the order of `_get_logits_processor`."""
    processors: list[Any] = []
    if sampling.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature != 0:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k is not None:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    scores = torch.from_numpy(logits[None].copy())
    return LogitsProcessorList(processors)(torch.from_numpy(seen[None]), scores)[0].numpy()  # type: ignore[no-any-return,arg-type]


def processed(logits: Array, seen: Array, sampling: Sampling) -> Array:
    """Our scores, with `-inf` for what is not kept."""
    scores = scored(logits, seen, sampling)
    ids = kept(scores, sampling)
    assert (np.diff(ids) > 0).all()
    result = np.full_like(scores, -np.inf)
    result[ids] = scores[ids]
    return result


def assert_same(ours: Array, theirs: Array, scores: Array, sampling: Sampling) -> None:
    """Both keep the same tokens with the same scores, but for what float32's rounding and equal scores leave open."""
    if sampling.top_p is None or sampling.top_p == 1:
        np.testing.assert_array_equal(ours, theirs)
        return
    assert abs(np.count_nonzero(ours > -np.inf) - np.count_nonzero(theirs > -np.inf)) <= 1
    edge = theirs[theirs > -np.inf].min()
    # Of the scores on the edge PyTorch's sort keeps any; ours keep the first.
    on_edge = scores == edge
    ours_there = ours[on_edge] > -np.inf
    assert (np.diff(ours_there.astype(int)) <= 0).all()
    candidates = (
        scores if sampling.top_k is None else np.where(scores >= np.sort(scores)[-sampling.top_k :][0], scores, -np.inf)
    )
    weights = np.exp(candidates.astype(np.float64) - candidates.max())
    below = np.cumsum(np.sort(weights)) / weights.sum()
    doubtful = np.abs(below - (1 - sampling.top_p)).min() < ROUNDING and not np.allclose(weights, weights[0])
    if not doubtful:
        assert np.count_nonzero(ours_there) == np.count_nonzero(theirs[on_edge] > -np.inf)
        np.testing.assert_array_equal(ours[~on_edge], theirs[~on_edge])


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("logits", LOGITS.values(), ids=LOGITS)
def test_scores_are_those_of_transformers(logits: Array, sampling: Sampling) -> None:
    seen = np.random.default_rng(1).integers(0, logits.size, 30)  # some of them twice or more
    if logits.size > 30:
        assert len(set(seen.tolist())) >= 20
    before = logits.copy()
    ours, theirs = processed(logits, seen, sampling), reference(logits, seen, sampling)
    np.testing.assert_array_equal(logits, before)
    assert ours.dtype == theirs.dtype == np.float32
    assert_same(ours, theirs, scored(logits, seen, sampling), sampling)
