"""The command line of the methods' page: `python -m benchmarks.methods`; run it in both environments."""

from __future__ import annotations

import os
from pathlib import Path

import click

from benchmarks.processes import QUIET
from benchmarks.settings import MINILM, RESULTS, ROOT

DOCUMENT = ROOT / "docs" / "methods.md"


@click.command(epilog="Example: python -m benchmarks.methods --page-only")
@click.option("--minilm", type=click.Path(path_type=Path), default=MINILM, help="Folder of all-MiniLM-L6-v2.")
@click.option("--page-only", is_flag=True, help="Write the page from the results that are there.")
def main(minilm: Path, page_only: bool) -> None:
    """Measure the methods of the library that is here, AdapterHub's or PEFT, and write docs/methods.md."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    from benchmarks.methods import measuring, page

    if not page_only:
        for library in measuring.libraries():
            measuring.write(measuring.measure(library, minilm.resolve()), RESULTS)
    DOCUMENT.write_text(page.document(RESULTS), encoding="utf-8")
    click.echo(f"wrote {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
