"""Tiny random checkpoints of every architecture and variant against stored Hugging Face logits."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lite_kernels.cpu.isa import Isa
from tests.checkpoints import checksum, make_checkpoint
from tests.instruction_sets import OTHERS, run_tests
from tests.parity.cases import CASES, NUM_STEPS
from tests.parity.driver import SequenceDriver

GOLDENS = Path(__file__).parent / "goldens"
BACKENDS = ("reference", "cpu")
FLOAT32_TOLERANCE = 1e-4  # of the largest logit

Golden = dict[str, Any]
Load = Callable[[str, str, str], tuple[Golden, SequenceDriver]]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Make the checkpoint of a case again and load it."""
    drivers = []

    def load(name: str, backend: str, dtype: str) -> tuple[Golden, SequenceDriver]:
        with np.load(GOLDENS / f"{name}.npz") as file:
            golden = {key: file[key] for key in file.files}
        case = CASES[name]
        path = make_checkpoint(
            tmp_path,
            case.architecture,
            seed=int(golden["seed"]),
            gain=float(golden["gain"]),
            tokenizer=False,
            **case.config,
        )
        assert json.loads((path / "config.json").read_text()) == json.loads(str(golden["config"]))
        assert checksum(path) == golden["checksum"], "weights differ from those of the golden"
        driver = SequenceDriver(
            path, backend=backend, dtype=dtype, max_len=len(golden["prompt"]) + NUM_STEPS
        )
        drivers.append(driver)
        return golden, driver

    yield load
    for driver in drivers:
        driver.close()


def _selected(golden: Golden, prompt_logits: Any, step_logits: Any) -> Any:
    return np.concatenate([prompt_logits[golden["prompt_rows"]], step_logits[golden["steps"]]])


@pytest.mark.parametrize("chunk_size", [None, 7])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_float32_gives_hugging_faces_greedy_ids_and_logits(
    name: str, backend: str, chunk_size: int | None, load: Load
) -> None:
    golden, driver = load(name, backend, "float32")
    prompt_logits, step_logits, token_ids = driver.generate(
        golden["prompt"], NUM_STEPS, chunk_size=chunk_size
    )
    assert token_ids.tolist() == golden["token_ids"].tolist()
    error = np.abs(_selected(golden, prompt_logits, step_logits) - golden["logits"]).max()
    assert error <= FLOAT32_TOLERANCE * np.abs(golden["logits"]).max()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_bfloat16_is_as_close_to_float32_as_hugging_faces_bfloat16(
    name: str, backend: str, load: Load
) -> None:
    golden, driver = load(name, backend, "bfloat16")
    prompt_logits, step_logits, _ = driver.generate(
        golden["prompt"], NUM_STEPS, forced=golden["token_ids"]
    )
    errors = np.abs(_selected(golden, prompt_logits, step_logits) - golden["logits"])
    # The tolerance is what Hugging Face's own bfloat16 shows over all positions of this case.
    assert errors.mean() <= golden["bfloat16_mean_error"]
    assert errors.max() <= golden["bfloat16_max_error"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("isa", OTHERS, ids=lambda isa: isa.name)
def test_lesser_instruction_sets_agree_with_hugging_face_too(isa: Isa) -> None:
    test = f"{__file__}::{test_float32_gives_hugging_faces_greedy_ids_and_logits.__name__}"
    run_tests(
        isa.name, [f"{test}[{name}-cpu-{chunk_size}]" for name in CASES for chunk_size in (None, 7)]
    )
