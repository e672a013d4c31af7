"""The stored results of benchmarks/*.py: figures are in the units that their names say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    else:
        yield value


def read_rates(value: Any) -> Iterator[float]:
    """Yield every number under a key that ends with `read_gb_s`, however deep."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        if isinstance(key, str) and key.endswith("read_gb_s"):
            yield from numbers(child)
        elif isinstance(child, dict | list):
            yield from read_rates(child)


def test_stored_rates_of_the_memory_are_in_gigabytes_a_second() -> None:
    rates = {path.name: [*read_rates(json.loads(path.read_text()))] for path in RESULTS.iterdir()}
    assert len(rates["cold_start.json"]) == 2
    assert rates["kernels.json"]
    assert all(0.0 < rate < 10_000.0 for found in rates.values() for rate in found), rates
