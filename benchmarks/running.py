"""Runs measures, each in a process of its own: what one imports or leaves in memory disturbs no other."""

from __future__ import annotations

import compileall
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Literal, ParamSpec, TypeVar

from benchmarks import measures
from benchmarks.results import Result
from benchmarks.settings import ROOT, Settings

P = ParamSpec("P")
T = TypeVar("T")


def prepare(names: Iterable[str], settings: Settings) -> None:
    """Makes what these measures need and is missing or out of date, so that torch is at work in none of them.

    The package's bytecode is among it: pip writes it when it installs, and nobody does for a working tree where Python
    is told not to.
    """
    for package in ("edgeadapt", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=2)
    wanted = set(names)
    if wanted & {"latency", "none", "mixed", "alternating", "overhead", "memory", "low_memory"}:
        _apart(_prepare_bert, "fp32")
    if measures.GPU in wanted:
        _apart(_prepare_bert, "fp32")
        _apart(_prepare_bert, "fp16")
    if measures.CROWD in wanted:
        _apart(_prepare_crowd, settings)
    if wanted & {"add", "parity"}:
        _apart(_prepare_minilm, settings)
    if wanted & set(measures.DECODERS):
        _apart(_prepare_smollm, settings)


def run(name: str, settings: Settings) -> Result:
    """Returns what one measure finds."""
    return _apart(_run, name, settings)


def _apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Returns what `function` returns in a new process, or raises what it raises."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, which otherwise would go on measuring for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(parent: int) -> None:
    multiprocessing.connection.wait([parent])
    os._exit(1)


def _prepare_bert(precision: Literal["fp32", "fp16"]) -> None:
    from benchmarks.models import bert

    bert.prepare(precision)


def _prepare_crowd(settings: Settings) -> None:
    from benchmarks.models import crowd

    crowd.prepare(settings.minilm)


def _prepare_minilm(settings: Settings) -> None:
    from benchmarks.models import minilm

    minilm.prepare(settings.minilm)


def _prepare_smollm(settings: Settings) -> None:
    from benchmarks.models import smollm

    smollm.prepare(settings.smollm)


def _run(name: str, settings: Settings) -> Result:
    from benchmarks.machine import facts, ticks

    machine, module, before = facts(), measures.get(name), ticks()
    figures = module.measure(settings)
    return Result(name, module.TITLE, module.HOW, figures, {**machine, "others_share": ticks().others(before)})
