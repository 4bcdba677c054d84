"""What the demonstrations write: under `build/`, anew each time."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADAPTERS = ROOT / "examples" / "adapters"
BUILD = ROOT / "build"


def clear(*places: Path) -> None:
    """Remove what an earlier demonstration wrote at some places, and nothing else; their folders are there after it."""
    for place in places:
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)


def megabytes(folder: Path) -> int:
    """Return what a folder's files take together."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


def shown(path: Path) -> Path:
    """Return a path as the repository's root sees it, where it lies in there."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
