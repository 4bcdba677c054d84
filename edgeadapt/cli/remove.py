"""`edgeadapt remove`: takes adapters out of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from edgeadapt.cli import options, terminal


@click.command(
    epilog="""\b
Example:
  edgeadapt remove bundle reviews
"""
)
@click.argument("bundle", type=options.FOLDER)
@click.argument("name")
@options.debug_option
def remove(bundle: Path, name: str) -> None:
    """Remove the adapter NAME from BUNDLE. The other adapters and the base stay as they are."""
    from edgeadapt.exporter import adding

    adding.remove(bundle, name)
    terminal.say(f"removed {name} from {bundle}")
