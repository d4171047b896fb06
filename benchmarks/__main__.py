"""Run every benchmark: `python -m benchmarks`."""

from benchmarks import first_report

print(first_report.measure())
