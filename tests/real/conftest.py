"""The real base and the bundle of the example adapters that PEFT trained."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MINILM = ROOT / ".models" / "all-MiniLM-L6-v2"
SMOLLM2 = ROOT / ".models" / "SmolLM2-135M-Instruct"
BANKING = ROOT / "examples" / "adapters" / "banking"  # AdapterHub's
ADAPTERS = {name: ROOT / "examples" / "adapters" / name for name in ("spam", "intents", "reviews", "tones")}


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2."""
    if not (MINILM / "config.json").is_file():
        pytest.skip(f"{MINILM.relative_to(ROOT)} is not there: `make test` fetches it")
    return MINILM


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct."""
    if not (SMOLLM2 / "config.json").is_file():
        pytest.skip(f"{SMOLLM2.relative_to(ROOT)} is not there: `make test` fetches it")
    return SMOLLM2


@pytest.fixture(scope="session")
def minilm_bundle(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 with the example adapters of PEFT. Read-only."""
    from edgeadapt.exporter.pipeline import export

    return export(minilm, ADAPTERS, tmp_path_factory.mktemp("minilm") / "demo-bundle").path
