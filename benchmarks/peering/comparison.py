"""Ours against the peers: one row for every figure that is aimed at."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.peering.engines import BY_NAME, OURS

MB = 1_000_000
# Weights of equal size: ours, llama.cpp's, the share of the read bound and the ratio aimed at.
SINGLE_DECODES = (
    ("lite bf16", "llama.cpp BF16", 0.90, 1.0),
    ("lite int8", "llama.cpp Q8_0", 0.85, 1.2),
    ("lite int4", "llama.cpp Q4_0", 0.75, 1.4),
)
BEST_OF_ALL = (
    ("decode_8", 1.8),
    ("decode_16", 1.8),
    ("decode_32", 1.8),
    ("decode_64", 1.8),
    ("prefill_512", 1.3),
    ("prefill_2048", 1.3),
    ("decode_1_at_8k", 1.5),
)
MAX_OVERHEAD_BYTES = 350 * MB
SERVING_RATIO = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison; `ratio` is ours / peer's, or ours / the bound where there is no peer."""

    case: str
    unit: str
    ours: str
    our_value: float
    peer: str
    peer_value: float
    ratio: float
    target: str
    reached: bool
    # Lowest and highest ratio of single repeats.
    ratio_range: tuple[float, float] | None = None


def compare_engines(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that the figures of `run` allow; a missing engine leaves its rows out."""
    return [asdict(row) for row in _engine_rows(figures)]


def _engine_rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    cases, engines = figures["cases"], figures["engines"]
    single = cases.get("decode_1", {})
    for ours, peer, share, ratio in SINGLE_DECODES:
        if "own_bandwidth_gb_s" in single.get(ours, {}):
            num_bytes = engines[ours]["weights_bytes_per_token"]
            yield _share_row(ours, single[ours], num_bytes, share)
        if _measured(single, ours) and _measured(single, peer):
            yield _row("decode_1", single, ours, peer, ratio)
    for case, ratio in BEST_OF_ALL:
        found = cases.get(case, {})
        ours, peer = _best(found, _is_ours), _best(found, _is_peer)
        if ours and peer:
            yield _row(case, found, ours, peer, ratio)
    for case in ("prefill_512", "prefill_2048"):
        found = cases.get(case, {})
        if _measured(found, "lite bf16") and _measured(found, "vLLM BF16"):
            yield _row(case, found, "lite bf16", "vLLM BF16", 1.1)
    for name, description in engines.items():
        if _is_ours(name) and "memory_after_run" in description:
            yield _memory_row(name, description)


def merge_figures(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of two runs of different cases as those of one."""
    merged: dict[str, Any] = dict(later)
    for key in ("engines", "cases", "skipped", "logprob_differences"):
        merged[key] = {**earlier.get(key, {}), **later[key]}
    for name, description in earlier.get("engines", {}).items():
        # The memory is measured in an engine's first case.
        merged["engines"][name] = {**merged["engines"][name], **description}
    return merged


def compare_servers(servers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that the figures of `serve` allow."""
    medians = {name: s["medians"] for name, s in servers.items() if "medians" in s}
    ours = {name: m for name, m in medians.items() if name.startswith(f"{OURS} ")}
    peers = {name: m for name, m in medians.items() if name not in ours}
    if not ours or not peers:
        return []
    rows = []
    for key, unit, choose, target in (
        ("output_tok_s", "tok/s", max, SERVING_RATIO),
        ("ttft_p99_s", "s", min, 1.0),
    ):
        best, rival = (choose(group, key=lambda n: group[n][key]) for group in (ours, peers))
        ratio = ours[best][key] / peers[rival][key]
        row = Row(
            case=f"serving, {key}",
            unit=unit,
            ours=best,
            our_value=ours[best][key],
            peer=rival,
            peer_value=peers[rival][key],
            ratio=ratio,
            target=f">= {target}" if choose is max else "< 1",
            reached=ratio >= target if choose is max else ratio < 1.0,
        )
        rows.append(asdict(row))
    return rows


def format_rows(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table for a terminal."""
    heads = ("case", "ours", "", "best peer", "", "ratio", "of repeats", "wanted", "")
    lines = [heads]
    for row in rows:
        span = row["ratio_range"]
        lines.append(
            (
                f"{row['case']} [{row['unit']}]",
                row["ours"],
                f"{row['our_value']:.4g}",
                row["peer"],
                f"{row['peer_value']:.4g}",
                f"{row['ratio']:.2f}",
                f"{span[0]:.2f}-{span[1]:.2f}" if span else "",
                row["target"],
                "reached" if row["reached"] else "NOT REACHED",
            )
        )
    return _aligned(lines)


def format_cases(figures: Mapping[str, Any]) -> str:
    """Return every engine's median of every case as a table for a terminal."""
    cases = figures["cases"]
    names = list(dict.fromkeys(name for found in cases.values() for name in found))
    lines = [("tokens/s", *cases)]
    for name in names:
        values = (found.get(name, {}) for found in cases.values())
        lines.append((name, *(f"{v['median']:.1f}" if "median" in v else "-" for v in values)))
    return _aligned(lines)


def _share_row(name: str, found: Mapping[str, Any], num_bytes: int, target: float) -> Row:
    pairs = zip(found["rates"], found["own_bandwidth_gb_s"], strict=True)
    shares = [rate * num_bytes / (bandwidth * 1e9) for rate, bandwidth in pairs]
    bandwidth = statistics.median(found["own_bandwidth_gb_s"])
    share = statistics.median(shares)
    return Row(
        case="decode_1, share of the streaming-read bound",
        unit="tok/s",
        ours=name,
        our_value=found["median"],
        peer=f"probe, {bandwidth:.0f} GB/s",
        peer_value=bandwidth * 1e9 / num_bytes,
        ratio=share,
        ratio_range=(min(shares), max(shares)),
        target=f">= {target}",
        reached=share >= target,
    )


def _row(case: str, found: Mapping[str, Any], ours: str, peer: str, target: float) -> Row:
    ratio = found[ours]["median"] / found[peer]["median"]
    # Repeat by repeat the two stood side by side.
    pairs = zip(found[ours]["rates"], found[peer]["rates"], strict=False)
    ratios = [our_rate / peer_rate for our_rate, peer_rate in pairs]
    return Row(
        case=case,
        unit="tok/s",
        ours=ours,
        our_value=found[ours]["median"],
        peer=peer,
        peer_value=found[peer]["median"],
        ratio=ratio,
        ratio_range=(min(ratios), max(ratios)),
        target=f">= {target}",
        reached=ratio >= target,
    )


def _memory_row(name: str, description: Mapping[str, Any]) -> Row:
    """Compare with what was used of the cache, since untouched pages are not resident."""
    memory = description["memory_after_run"]["VmRSS"]
    used = description["kv_bytes_per_token"] * description["memory_after_run"]["num_tokens"]
    needed = description["weights_bytes"] + used
    return Row(
        case=f"resident memory: +{(memory - needed) / MB:.0f}",
        unit="MB",
        ours=name,
        our_value=memory / MB,
        peer="weights + used KV",
        peer_value=needed / MB,
        ratio=memory / needed,
        target=f"<= +{MAX_OVERHEAD_BYTES // MB} MB",
        reached=memory - needed <= MAX_OVERHEAD_BYTES,
    )


def _best(found: Mapping[str, Any], belongs: Callable[[str], bool]) -> str | None:
    names = [name for name in found if belongs(name) and _measured(found, name)]
    return max(names, key=lambda name: found[name]["median"], default=None)


def _measured(found: Mapping[str, Any], name: str) -> bool:
    return "median" in found.get(name, {})


def _is_ours(name: str) -> bool:
    return BY_NAME[name].family == OURS


def _is_peer(name: str) -> bool:
    return not _is_ours(name)


def _aligned(lines: list[tuple[str, ...]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
