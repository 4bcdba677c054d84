"""Measures how fast and how small edgeadapt is, and writes what it found to `benchmarks/results/`.

`python -m benchmarks` runs everything, `python -m benchmarks latency` one measure, `python -m benchmarks table` writes
`docs/benchmarks.md` from the results that are there. The names of the measures are the files in `measures/`.
"""
