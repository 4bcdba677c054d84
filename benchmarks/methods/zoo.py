"""All cases of the methods' page, by the library that says what is right."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.methods import adapterhub_zoo, own_zoo, peft_zoo
from benchmarks.methods.cases import Case, Library

LIBRARIES: Mapping[Library, tuple[Case, ...]] = {
    "peft": peft_zoo.CASES,
    "adapters": adapterhub_zoo.CASES,
    "torch": own_zoo.CASES,
}
