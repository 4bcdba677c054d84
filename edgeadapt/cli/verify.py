"""`edgeadapt verify`: repeats the proof that a bundle carries, on this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgeadapt.cli import options, terminal

if TYPE_CHECKING:
    from edgeadapt.parity import ParityReport


@click.command(
    epilog="""\b
Examples:
  edgeadapt verify bundle
  edgeadapt verify bundle --provider cuda --json
"""
)
@click.argument("bundle", type=options.FOLDER)
@options.provider_option
@options.json_option
@options.debug_option
@click.pass_context
def verify(ctx: click.Context, bundle: Path, provider: Literal["cpu", "cuda", "auto"], as_json: bool) -> None:
    """Replay the stored parity case of the base and of every adapter in BUNDLE.

    All files are checked against their sha256 first. Exit code 1 if an adapter fails, 2 if the bundle can't be used.
    """
    from edgeadapt.errors import ParityError
    from edgeadapt.runtime import load
    from edgeadapt.runtime.verify import check_cases
    from edgeadapt.runtime.verify import verify as replay

    reports: list[ParityReport] = []
    failures: list[str] = []
    with terminal.stages() as progress:
        progress("checking the files")
        session = load(bundle, provider)
        session.check()
        check_cases(bundle)
        for name in (None, *session.adapters):
            progress(f"running {name or 'the base'}")
            try:
                report = replay(session, name)
            except ParityError as error:
                failures.append(f"{name or 'none'}: {error}")
            else:
                reports.append(report)
                failures += [f"{report.name}: {failure}" for failure in report.failures()]
    if as_json:
        adapters = [_facts(report) for report in reports]
        terminal.show_json(
            {"provider": session.provider, "passed": not failures, "adapters": adapters, "failures": failures}
        )
    else:
        terminal.show_reports(f"parity with PyTorch, on {session.provider}", reports)
        for failure in failures:
            terminal.say(f"failed: {failure}")
        terminal.say("failed" if failures else f"all {len(reports)} passed")
    ctx.exit(1 if failures else 0)


def _facts(report: ParityReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "max_abs_error": _finite(report.max_abs_error),
        "effect": report.effect,
        "cosine": report.cosine,
        "top1_agreement": report.top1_agreement,
        "tolerance": report.tolerance.max_abs,
        "passed": report.passed,
    }


def _finite(number: float) -> float | None:
    """Returns a number, or None for the infinity that stands for outputs with NaN: JSON has no word for it."""
    return number if number < float("inf") else None
