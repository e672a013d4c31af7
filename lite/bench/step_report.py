"""A step profile in figures: time of each operation, and how close it comes to the machine's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lite.bench.cost import Cost
from lite.bench.step_profile import PARTS, ProfiledSteps, StepTotals
from lite.bench.table import format_table

# How the parts outside of kernels are shown.
_PART_NAMES = {
    "schedule": "schedule, batch",
    "launch": "launch",
    "collect": "sampling",
    "update": "update, output",
    "deliver": "deliver",
}
WAKE = "wake-up"


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the machine can do at best: bytes/s read, and FLOP/s."""

    read_bandwidth: float
    multiply_rate: float

    def least_s(self, cost: Cost) -> float:
        """Return the seconds that `cost` takes at these rates."""
        return cost.least_s(self.read_bandwidth, self.multiply_rate)


def profile_figures(profiled: ProfiledSteps, ceilings: Ceilings) -> dict[str, Any]:
    """Return everything as JSON wants it: `steps` by kind, whose numbers are those of one step.

    `other_cpu_share` is the CPU time of the process's other threads beside the steps' time.
    """
    steps_s = sum(one.total_ns for one in profiled.totals.values()) / 1e9
    other_s = profiled.other_cpu_s
    return {
        "read_gb_s": ceilings.read_bandwidth / 1e9,
        "multiply_gflop_s": ceilings.multiply_rate / 1e9,
        "other_cpu_share": None if other_s is None or not steps_s else other_s / steps_s,
        "steps": {kind: _step_figures(one, ceilings) for kind, one in profiled.totals.items()},
    }


def _step_figures(totals: StepTotals, ceilings: Ceilings) -> dict[str, Any]:
    steps = totals.num_steps
    operations = list(_operations(totals, ceilings))
    parts = {_PART_NAMES[part]: totals.parts[part] for part in PARTS if part in totals.parts}
    outside = {WAKE: totals.wake_ns, **parts}
    least_s = sum(ceilings.least_s(cost) for cost in totals.costs.values())
    return {
        "num_steps": steps,
        "tokens": totals.num_tokens / steps,
        "sequences": totals.num_seqs / steps,
        "ms": totals.total_ns / steps / 1e6,
        "operations": operations,
        "outside": [
            {"part": name, "ms": ns / steps / 1e6, "share": ns / totals.total_ns}
            for name, ns in outside.items()
        ],
        "outside_share": sum(outside.values()) / totals.total_ns,
        # All that must be done, at the rates that cannot be exceeded, beside the step's time.
        "ceiling_share": least_s / (totals.total_ns / 1e9),
    }


def _operations(totals: StepTotals, ceilings: Ceilings) -> Iterator[dict[str, Any]]:
    steps = totals.num_steps
    for name in dict.fromkeys(name for name, _ in totals.rows):
        kernels = {
            kernel: {"entries": count / steps, "ms": ns / steps / 1e6}
            for (operation, kernel), (count, ns) in totals.rows.items()
            if operation == name
        }
        seconds = sum(ns for (one, _), (_, ns) in totals.rows.items() if one == name) / 1e9
        figures: dict[str, Any] = {
            "operation": name,
            "calls": totals.calls[name] / steps,
            "ms": 1e3 * seconds / steps,
            "share": seconds / (totals.total_ns / 1e9),
            "kernels": kernels,
        }
        cost = totals.costs.get(name)
        if cost is not None and seconds:
            figures |= {
                "gb": cost.num_bytes / steps / 1e9,
                "gflop": cost.num_flops / steps / 1e9,
                "least_ms": 1e3 * ceilings.least_s(cost) / steps,
                "gb_s": cost.num_bytes / seconds / 1e9,
                "gflop_s": cost.num_flops / seconds / 1e9,
                "memory_share": cost.num_bytes / seconds / ceilings.read_bandwidth,
                "compute_share": cost.num_flops / seconds / ceilings.multiply_rate,
            }
        yield figures


def profile_lines(profile: Mapping[str, Any]) -> Iterator[str]:
    """Yield the profile of each kind of step as a table."""
    yield (
        f"Ceilings: memory {profile['read_gb_s']:.1f} GB/s, "
        f"compute {profile['multiply_gflop_s']:.0f} GFLOP/s"
    )
    if profile["other_cpu_share"] is not None:
        yield (
            "Other threads (text, messages) took CPU time of "
            f"{profile['other_cpu_share']:.1%} of the steps' time"
        )
    for kind, one in profile["steps"].items():
        yield ""
        yield (
            f"{kind}: {one['num_steps']} steps of {one['ms']:.3f} ms, {one['tokens']:.1f} tokens "
            f"of {one['sequences']:.1f} sequences each; {one['ceiling_share']:.0%} of the ceiling, "
            f"{one['outside_share']:.1%} outside of the kernels"
        )
        head = ("", "calls", "ms", "share", "GB/s", "GFLOP/s", "of the ceiling")
        rows = [_row(operation) for operation in one["operations"]]
        rows += [
            (part["part"], "", f"{part['ms']:.3f}", f"{part['share']:.1%}", "", "", "")
            for part in one["outside"]
        ]
        share = one["outside_share"]
        rows.append(("outside, in all", "", f"{share * one['ms']:.3f}", f"{share:.1%}", "", "", ""))
        yield from format_table(head, rows)


def _row(operation: Mapping[str, Any]) -> tuple[str, ...]:
    name, calls = operation["operation"], f"{operation['calls']:.4g}"
    time = (f"{operation['ms']:.3f}", f"{operation['share']:.1%}")
    if "gb_s" not in operation:
        return name, calls, *time, "", "", ""
    memory, compute = operation["memory_share"], operation["compute_share"]
    bound = f"{memory:.0%} memory" if memory >= compute else f"{compute:.0%} compute"
    return (
        name,
        calls,
        *time,
        f"{operation['gb_s']:.1f}",
        f"{operation['gflop_s']:.0f}",
        bound,
    )
