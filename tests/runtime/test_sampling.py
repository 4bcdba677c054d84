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
    return LogitsProcessorList(processors)(torch.from_numpy(seen[None]), scores)[0].numpy()  # type: ignore[arg-type]


def processed(logits: Array, seen: Array, sampling: Sampling) -> Array:
    """Our scores, with `-inf` for what is not kept."""
    scores = scored(logits, seen, sampling)
    ids = kept(scores, sampling)
    assert (np.diff(ids) > 0).all()
    result = np.full_like(scores, -np.inf)
    result[ids] = scores[ids]
    return result


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("logits", LOGITS.values(), ids=LOGITS)
def test_scores_are_those_of_transformers(logits: Array, sampling: Sampling) -> None:
    seen = np.random.default_rng(1).integers(0, logits.size, 30)
    seen = np.concatenate([seen, seen[:10]])
    before = logits.copy()
    ours, theirs = processed(logits, seen, sampling), reference(logits, seen, sampling)
    np.testing.assert_array_equal(logits, before)
    assert ours.dtype == theirs.dtype == np.float32
    # Of equal scores on the edge of top-p, PyTorch's sort keeps as many as we do, and any of them.
    edge = ours[ours > -np.inf].min() if sampling.top_p is not None else -np.inf
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))
    np.testing.assert_array_equal(np.where(ours == edge, -np.inf, ours), np.where(theirs == edge, -np.inf, theirs))


def test_of_equal_scores_top_k_keeps_all_and_top_p_the_first() -> None:
    equal = np.zeros(64, np.float32)
    np.testing.assert_array_equal(kept(equal, Sampling(temperature=1.0, top_k=3)), np.arange(64))
    np.testing.assert_array_equal(kept(equal, Sampling(temperature=1.0, top_p=0.25)), np.arange(16))


def test_the_penalty_leaves_out_ids_that_have_no_logits() -> None:
    seen = np.array([1, 7, 200])
    sampling = Sampling(temperature=1.0, repetition_penalty=2.0)
    np.testing.assert_array_equal(scored(LOGITS["few"], seen, sampling), scored(LOGITS["few"], seen[:1], sampling))


def model() -> Any:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=300, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.5, eos_token_id=None
    )
    return GPT2LMHeadModel(config).eval()


PROMPTS = torch.tensor([[5, 9, 9, 17], [250, 3, 4, 3], [0, 1, 2, 299]])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=2.5, top_k=40, top_p=0.8, repetition_penalty=1.4),
        Sampling(temperature=1.0, top_p=0.7),
        Sampling(temperature=0.5, top_k=7),
    ],
    ids=["everything", "top-p", "top-k"],
)
def test_the_order_is_that_of_generate(sampling: Sampling) -> None:
    torch.manual_seed(1)
    answer = model().generate(
        PROMPTS,
        attention_mask=torch.ones_like(PROMPTS),
        pad_token_id=0,
        do_sample=True,
        max_new_tokens=10,
        temperature=sampling.temperature,
        top_k=sampling.top_k or 0,
        top_p=sampling.top_p or 1.0,
        repetition_penalty=sampling.repetition_penalty,
        return_dict_in_generate=True,
        output_logits=True,
        output_scores=True,
    )
    for step, (logits, scores) in enumerate(zip(answer.logits, answer.scores, strict=True)):
        seen = answer.sequences[:, : PROMPTS.shape[1] + step].numpy()
        ours = [processed(line, ids, sampling) for line, ids in zip(logits.numpy(), seen, strict=True)]
        np.testing.assert_array_equal(ours, scores.numpy())
    assert step == 9


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_greedy_is_that_of_generate(penalty: float) -> None:
    live = model()
    expected = live.generate(
        PROMPTS,
        attention_mask=torch.ones_like(PROMPTS),
        pad_token_id=0,
        do_sample=False,
        max_new_tokens=20,
        repetition_penalty=penalty,
    )
    sampler, ids = Sampler(Sampling(repetition_penalty=penalty), rows=3), PROMPTS
    for _ in range(20):
        with torch.no_grad():
            logits = live(ids).logits[:, -1].numpy()
        ids = torch.cat([ids, torch.from_numpy(sampler.choose(logits, list(ids.numpy())))[:, None]], dim=1)
    np.testing.assert_array_equal(ids.numpy(), expected.numpy())


def test_greedy_takes_the_first_of_equal_logits() -> None:
    logits = np.array([[0, 2, 1, 2], [3, 3, 3, 3], [-1, -1, -2, -1]], np.float32).repeat(50, axis=0)
    chosen = Sampler(Sampling(), rows=150).choose(logits, [np.array([0])] * 150)
    assert chosen.dtype == np.int64
    np.testing.assert_array_equal(chosen, torch.from_numpy(logits).argmax(dim=-1).numpy())
    assert set(chosen.tolist()) == {0, 1}


def drawn(logits: Array, sampling: Sampling, steps: int, rows: int = 1) -> Array:
    """Tokens of a sampler that gets the same logits for every row at every step, `(steps, rows)`."""
    sampler, batch, seen = Sampler(sampling, rows), np.tile(logits, (rows, 1)), [np.array([], np.int64)] * rows
    return np.stack([sampler.choose(batch, seen) for _ in range(steps)])


@pytest.mark.parametrize(
    ("vocabulary", "sampling"),
    [
        (6, Sampling(temperature=1.0, seed=0)),
        (6, Sampling(temperature=2.0, top_k=4, seed=1)),
        (900, Sampling(temperature=1.0, seed=2)),  # more tokens than are drawn from at a time
        (900, Sampling(temperature=1.5, top_p=0.8, seed=3)),
    ],
)
def test_frequencies_are_those_of_the_softmax(vocabulary: int, sampling: Sampling) -> None:
    draws = 20000
    logits = np.sort(random_logits(vocabulary, scale=1.5))  # sorted, so that stretches of tokens weigh differently
    counts = np.bincount(drawn(logits, sampling, draws)[:, 0], minlength=vocabulary)
    scores = reference(logits, np.array([], np.int64), sampling)
    expected = torch.from_numpy(scores).double().softmax(-1).numpy() * draws
    assert not counts[expected == 0].any()
    # Neighbours make groups that are expected about 400 times or more, as a chi-square test needs.
    groups = np.minimum(np.cumsum(expected) // 400, draws // 400 - 1).astype(int)
    observed, wanted = (np.bincount(groups, values) for values in (counts, expected))
    wanted_groups = wanted > 0
    observed, wanted = observed[wanted_groups], wanted[wanted_groups]
    square = ((observed - wanted) ** 2 / wanted).sum()
    freedom = wanted.size - 1
    assert square < freedom + 4 * np.sqrt(2 * freedom)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 5).all()


def test_a_row_gets_what_it_gets_alone() -> None:
    logits = [random_logits(500, seed=seed) for seed in range(3)]
    sampling = Sampling(temperature=1.0, top_k=100, top_p=0.95, repetition_penalty=1.2, seed=7)
    together = texts(logits, sampling)
    for row, line in enumerate(logits):
        assert texts([line], sampling) == [together[row]]
    assert len({tuple(text) for text in together}) == 3
    assert texts(logits, sampling) == together
    assert texts(logits, Sampling(temperature=1.0, top_k=100, top_p=0.95, repetition_penalty=1.2, seed=8)) != together


def texts(logits: Sequence[Array], sampling: Sampling, steps: int = 20) -> list[list[int]]:
    """The tokens that each row gets from logits that stay the same, and a penalty on what it has."""
    sampler, seen = Sampler(sampling, len(logits)), [np.array([3], np.int64) for _ in logits]
    for _ in range(steps):
        chosen = sampler.choose(np.stack(logits), seen)
        seen = [np.append(ids, token) for ids, token in zip(seen, chosen, strict=True)]
    return [ids.tolist() for ids in seen]


def test_without_a_seed_rows_and_calls_differ() -> None:
    flat, sampling = np.zeros(1000, np.float32), Sampling(temperature=1.0)
    first, second = drawn(flat, sampling, 20, rows=2), drawn(flat, sampling, 20, rows=2)
    columns = [*first.T.tolist(), *second.T.tolist()]
    assert len({tuple(column) for column in columns}) == 4
    seeded = drawn(flat, Sampling(temperature=1.0, seed=0), 20, rows=2)
    np.testing.assert_array_equal(seeded[:, 0], seeded[:, 1])


@pytest.mark.parametrize(
    ("sampling", "problems"),
    [
        (
            Sampling(-0.1, 0, 1.5, 0.0, -1),
            ["temperature: got -0.1", "top_k: got 0", "top_p: got 1.5", "repetition_penalty: got 0.0", "seed: got -1"],
        ),
        (
            Sampling(float("nan"), True, 0.0, float("inf"), 0.5),  # type: ignore[arg-type]
            [
                "temperature: got nan",
                "top_k: got True",
                "top_p: got 0.0",
                "repetition_penalty: got inf",
                "seed: got 0.5",
            ],
        ),
        (Sampling(float("inf"), 2.0, float("nan")), ["temperature: got inf", "top_k: got 2.0", "top_p: got nan"]),  # type: ignore[arg-type]
        (Sampling(1e-50, repetition_penalty=1e39), ["temperature: got 1e-50", "repetition_penalty: got 1e+39"]),
        (Sampling(0, 5, 0.9), ["top_k: has no effect at temp", "top_p: has no effect at temp"]),
    ],
)
def test_wrong_values_are_refused_all_at_once(sampling: Sampling, problems: Sequence[str]) -> None:
    with pytest.raises(ConfigError, match="The next tokens can't be chosen like this") as refusal:
        Sampler(sampling, rows=1)
    lines = str(refusal.value).splitlines()[1:]
    assert len(lines) == len(problems)
    assert all(line.strip().startswith(problem) for line, problem in zip(lines, problems, strict=True))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, top_k=2), Sampling(1.0, top_p=0.5), Sampling(1e-30)])
def test_scores_that_are_no_numbers_are_refused(sampling: Sampling) -> None:
    logits = np.tile(np.array([1.0, -1e9, 2.0], np.float32), (4, 1)) * np.float32(1e-3)
    seen = [np.array([0])] * 4
    Sampler(sampling, rows=4).choose(logits, seen)
    logits[1, 0], logits[2, 1], logits[3] = np.nan, np.inf, -np.inf
    with pytest.raises(InputError) as refusal:
        Sampler(sampling, rows=4).choose(logits, seen)
    assert [line.strip().split(",")[0] for line in str(refusal.value).splitlines()[1:4]] == [
        "row 1: the highest score is nan",
        "row 2: the highest score is inf",
        "row 3: the highest score is -inf",
    ]


def test_a_temperature_too_low_for_the_logits_is_refused() -> None:
    with pytest.raises(InputError, match="row 0: the highest score is inf"):
        Sampler(Sampling(temperature=2e-38), rows=1).choose(np.full((1, 5), 100, np.float32), [np.array([0])])


def test_padding_among_the_ids_is_refused() -> None:
    with pytest.raises(InputError, match="row 1: a token it has seen is -100"):
        Sampler(Sampling(), rows=2).choose(np.zeros((2, 5), np.float32), [np.array([0]), np.array([3, -100])])
