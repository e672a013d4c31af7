"""What quantizing costs on the checkpoints of the goldens, beside llama.cpp's formats."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import Text, conversations, measure
from tests.checkpoints import make_checkpoint
from tests.parity.cases import CASES

GOLDENS = Path(__file__).parent / "goldens"
DEMO = Path(__file__).parents[2] / "lite" / "assets" / "demo"
FORMATS = ["int8", "int4", "Q8_0", "Q4_0", "int8 KV (float32)"]

Figures = Mapping[str, Mapping[str, float]]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figures]:
    """Score the golden's 64 greedy tokens of every case in every format."""
    found = {}
    for name, case in CASES.items():
        with np.load(GOLDENS / f"{name}.npz") as file:
            golden = {key: file[key] for key in ("prompt", "token_ids", "seed", "gain")}
        path = make_checkpoint(
            tmp_path_factory.mktemp(name),
            case.architecture,
            seed=int(golden["seed"]),
            gain=float(golden["gain"]),
            tokenizer=False,
            **case.config,
        )
        ids = np.concatenate([golden["prompt"], golden["token_ids"]])
        text = Text(ids.astype(np.int32), np.arange(len(ids)) >= len(golden["prompt"]))
        found[name] = measure(path, [text], FORMATS)
    return found


def mean(figures: Mapping[str, Figures], format: str, figure: str) -> float:
    return float(np.mean([case[format][figure] for case in figures.values()]))


# These weights are random and scaled up, so every error grows from layer to layer: what counts is
# not the size of the loss but how it compares with that of the same bits elsewhere.


@pytest.mark.parametrize("name", CASES)
def test_int8_loses_what_q8_0_loses(figures: Mapping[str, Figures], name: str) -> None:
    case = figures[name]
    assert case["int8"]["divergence"] <= 1.15 * case["Q8_0"]["divergence"]
    assert case["int8"]["top1_agreement_percent"] >= 90.0


def test_int4_loses_less_than_q4_0(figures: Mapping[str, Figures]) -> None:
    for case in figures.values():
        assert case["int4"]["divergence"] <= 1.1 * case["Q4_0"]["divergence"]
    for figure in ("divergence", "perplexity_change_percent"):
        assert mean(figures, "int4", figure) < mean(figures, "Q4_0", figure)


@pytest.mark.parametrize("name", CASES)
def test_int8_keys_and_values_lose_less_than_int8_weights(
    figures: Mapping[str, Figures], name: str
) -> None:
    """They are as coarse as int8 weights, but enter two products of a layer instead of all."""
    case = figures[name]
    assert case["int8 KV (float32)"]["divergence"] <= case["int8"]["divergence"]
    assert case["int8 KV (float32)"]["top1_agreement_percent"] >= 90.0


@pytest.mark.skipif(not DEMO.is_dir(), reason="the trained demo model is not in this checkout")
def test_a_trained_model_keeps_its_perplexity() -> None:
    """On new conversations with the bundled model, whose answers are scored.

    So few tokens do not tell int4 from Q4_0: it must not be worse by two standard errors.
    """
    case = measure(DEMO, list(conversations(DEMO, 40, "test")), FORMATS)
    assert abs(case["int8"]["perplexity_change_percent"]) <= 0.1
    assert case["int8"]["top1_agreement_percent"] >= 99.5
    assert case["int4"]["above_yardstick_percent"] <= 2 * case["int4"]["its_error_percent"]
    assert abs(case["int8 KV (float32)"]["perplexity_change_percent"]) <= 0.1
    assert case["int8 KV (float32)"]["top1_agreement_percent"] >= 99.5
    assert case["int4"]["top1_agreement_percent"] >= 98.5


@pytest.mark.slow
@pytest.mark.skipif(not DEMO.is_dir(), reason="the trained demo model is not in this checkout")
def test_a_trained_model_diverges_less_in_int4_than_in_q4_0() -> None:
    case = measure(DEMO, list(conversations(DEMO, 300, "quality")), FORMATS)
    assert abs(case["int8"]["perplexity_change_percent"]) <= 0.1
    assert case["int4"]["divergence"] <= case["Q4_0"]["divergence"]
