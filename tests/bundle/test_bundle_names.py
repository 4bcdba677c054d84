"""Adapters' names: which may be given, and which stand in a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeadapt import bundle
from edgeadapt.errors import AdapterError, BundleError


@pytest.mark.parametrize("name", ["spam", "a", "A1", "customer-12.v2_x", "x" * 64])
def test_a_safe_name_passes(name: str) -> None:
    bundle.check_adapter_name(name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none", "'none' means the base itself"),
        ("None", "only in case"),
        ("", "is not 1 to 64 of the characters"),
        ("x" * 65, "is not 1 to 64 of the characters"),
        ("../up", "is not 1 to 64 of the characters"),
        ("a/b", "is not 1 to 64 of the characters"),
        (".hidden", "is not 1 to 64 of the characters"),
        ("spam\n", "is not 1 to 64 of the characters"),
        ("späm", "is not 1 to 64 of the characters"),
        ("spam.", "ends with a dot"),
        ("CON", "is a device on Windows"),
        ("com7.v2", "is a device on Windows"),
    ],
)
def test_an_unsafe_name_is_refused(name: str, problem: str) -> None:
    with pytest.raises(AdapterError, match=problem):
        bundle.check_adapter_name(name)


def test_the_names_are_sorted_folders_without_interrupted_writes(tmp_path: Path) -> None:
    for name in ("spam", "none", "Fr", ".spam.1.2.partial"):
        (tmp_path / "adapters" / name).mkdir(parents=True)
    (tmp_path / "adapters" / "README").write_text("")
    assert bundle.adapter_names(tmp_path) == ["Fr", "none", "spam"]


def test_a_bundle_without_the_folder_has_no_adapters(tmp_path: Path) -> None:
    assert bundle.adapter_names(tmp_path) == []


def test_every_folder_that_is_no_adapter_is_told(tmp_path: Path) -> None:
    home = tmp_path / "adapters"
    for name in ("spam", "Spam", "my adapter"):
        (home / name).mkdir(parents=True)
    (home / "link").symlink_to(home / "spam")
    with pytest.raises(BundleError) as caught:
        bundle.adapter_names(tmp_path)
    told = [line.strip() for line in str(caught.value).splitlines()[1:-1]]
    assert told[0] == "link: is a link"
    assert told[1].startswith("my adapter: 'my adapter' is not 1 to 64 of the characters")
    assert told[2] == "spam: differs from Spam only in case"
    assert len(told) == 3


def test_the_folder_of_adapters_must_be_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "spam").mkdir(parents=True)
    (tmp_path / "adapters").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="adapters is a link"):
        bundle.adapter_names(tmp_path)
