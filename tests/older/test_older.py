"""Bundles on older versions of ONNX Runtime, each in an environment without anything else, against the newest.

`make test-older` makes the environments and asks for these.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
import pytest

from edgeadapt import bundle
from edgeadapt.graph.requirement import Release, release
from tests.older import bundles

pytestmark = pytest.mark.older

Array: TypeAlias = "np.ndarray[Any, Any]"

PYTHONS = [Path(each) for each in os.environ.get("EDGEADAPT_OLDER", "").split(os.pathsep) if each]
"""Of the environments."""

MAX_ERROR = 1e-5
OF_LARGEST = {"fp16": 0.005, "int4": 0.02}
"""How far two versions of ONNX Runtime may be apart, as a share of the largest output: each rounds in its own way."""

FRAMEWORKS = {"torch", "transformers", "peft", "onnx", "onnx_ir", "click", "yaml"}
NEEDED: Mapping[str, Release] = {
    name: (1, 20) if recipe.opset < bundles.NEW else (1, 23) for name, recipe in bundles.RECIPES.items()
}


@dataclass(frozen=True)
class Ran:
    """What an environment did with all bundles: `exercise.py` has the words."""

    version: str
    modules: frozenset[str]
    bundles: Mapping[str, Any]
    answers: Mapping[str, Array]

    def of(self, name: str) -> dict[str, Array]:
        """Returns the answers of a bundle, by what was asked."""
        start = f"{name}/"
        return {key.removeprefix(start): array for key, array in self.answers.items() if key.startswith(start)}


def ran(python: Path, root: Path, out: Path) -> Ran:
    """Runs all bundles in an environment."""
    code = Path(__file__).resolve().parent
    environment = {**os.environ, "PYTHONPATH": str(code.parents[1]), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [python, code / "exercise.py", root, out], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((out / "facts.json").read_text())
    with np.load(out / "answers.npz") as stored:
        answers = {key: stored[key] for key in stored.files}
    return Ran(facts["onnxruntime"], frozenset(facts["modules"]), facts["bundles"], answers)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All bundles, and an adapter that comes to each. Read-only."""
    if not PYTHONS:
        pytest.skip("no older ONNX Runtime: `make test-older` gets them")
    folder = tmp_path_factory.mktemp("older")
    for name in bundles.RECIPES:
        bundles.write(folder, name)
    return folder


@pytest.fixture(scope="module")
def newest(root: Path) -> Ran:
    return ran(Path(sys.executable), root, root / "newest")


@pytest.fixture(scope="module", params=PYTHONS or [Path("none")], ids=lambda python: python.parent.parent.name)
def older(request: pytest.FixtureRequest, root: Path) -> Ran:
    return ran(request.param, root, root / f"older-{PYTHONS.index(request.param)}")


def test_a_bundle_says_what_it_needs(root: Path) -> None:
    found = {name: bundle.read_manifest(root / bundles.BUNDLES / name).model.onnxruntime for name in NEEDED}

    assert found == {name: ">={}.{}".format(*needed) for name, needed in NEEDED.items()}


def test_an_older_version_runs_every_bundle_that_needs_no_newer_one_and_refuses_the_others(older: Ran) -> None:
    """Each environment is there for bundles that need the very version."""
    assert release(older.version) in NEEDED.values()
    assert not older.modules & FRAMEWORKS
    refused = {name: facts["refused"] for name, facts in older.bundles.items() if "refused" in facts}

    assert set(refused) == {name for name, needed in NEEDED.items() if needed > release(older.version)}
    for name, message in refused.items():
        needed = ">={}.{}".format(*NEEDED[name])
        assert message.startswith(f"The bundle needs onnxruntime {needed}, and {older.version} is installed.\n")


def test_there_every_adapter_says_what_pytorch_said(older: Ran) -> None:
    for name, facts in older.bundles.items():
        if "refused" not in facts:
            assert sorted(facts["errors"]) == ["narrow", "none", "wide"], name
            assert not facts["failures"], name
            if bundles.RECIPES[name].precision == "fp32":
                assert max(facts["errors"].values()) <= MAX_ERROR, name


def test_there_every_answer_is_that_of_the_newest_version(older: Ran, newest: Ran) -> None:
    """Of the base, adapters, mixed rows and blends, and of what came and went; what is refused, too, and tokens."""
    assert newest.version == onnxruntime.__version__ != older.version
    for name, facts in older.bundles.items():
        if "refused" in facts:
            continue
        got, expected = older.of(name), newest.of(name)
        assert got.keys() == expected.keys()
        _check_asked(name, set(got))
        share = OF_LARGEST.get(bundles.RECIPES[name].precision)
        for what, array in expected.items():
            if array.dtype.kind == "f":
                most = MAX_ERROR if share is None else share * float(np.abs(array).max())
                np.testing.assert_allclose(got[what], array, atol=most, rtol=0, err_msg=f"{name}: {what}")
            elif share is None or array.dtype.kind == "U":  # rounding may decide which of two tokens is written
                np.testing.assert_array_equal(got[what], array, err_msg=f"{name}: {what}")
        if share is None:
            assert _labels(facts["scores"]) == _labels(newest.bundles[name]["scores"]), name


def _check_asked(name: str, asked: set[str]) -> None:
    """Makes sure that all was asked, and answered but where it can't be: a base without a head, a blend of heads."""
    recipe = bundles.RECIPES[name]
    kept = recipe.headed or recipe.task in (bundles.WRITING, bundles.REWRITING)
    refused = {what.partition("/")[0] for what in asked if what.endswith("/refused")}
    assert refused == (set() if kept else {"base", "blend"}), name
    low = set() if recipe.precision == "int4" else {"in little memory"}
    assert {what.partition("/")[0] for what in asked} == low | {
        "base", "wide", "narrow", "mixed", "blend", "added", "removed", "refreshed", "refreshed again"
    }, name  # fmt: skip


def _labels(scores: Any) -> Any:
    """Returns what a pipeline said, without its numbers."""
    if isinstance(scores, list):
        return [_labels(each) for each in scores]
    if isinstance(scores, dict):
        return {key: _labels(value) for key, value in scores.items() if not isinstance(value, float)}
    return scores
