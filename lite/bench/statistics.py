"""Means and percentiles under the names that vLLM's benchmarks give them."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def summary(
    name: str, seconds: Sequence[float], percentiles: Sequence[float]
) -> dict[str, float | None]:
    """Return mean, median, std and percentiles in ms: `mean_NAME_ms`, `p99_NAME_ms` ...

    Percentiles interpolate linearly; all are None where there is no value.
    """
    labels = [f"p{percentile_label(p)}" for p in percentiles]
    names = [f"{label}_{name}_ms" for label in ("mean", "median", "std", *labels)]
    if not seconds:
        return dict.fromkeys(names)
    values = 1e3 * np.asarray(seconds, np.float64)
    figures: Sequence[Any] = (
        values.mean(),
        np.median(values),
        values.std(),
        *np.percentile(values, percentiles),
    )
    return {label: float(value) for label, value in zip(names, figures, strict=True)}


def percentile_label(percentile: float) -> str:
    """Return 99 for 99.0 and 99.9 for 99.9."""
    return f"{percentile:g}"
