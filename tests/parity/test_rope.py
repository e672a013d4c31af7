"""Cosine and sine tables against those of Hugging Face, for the ropes of published models."""

from pathlib import Path

import numpy as np
import pytest

from lite.models.fields import Fields
from lite.models.rope import cos_sin_table, dynamic_cos_sin, inverse_frequencies, read_rope
from tests.parity.cases import ROPE_CASES, ROPE_POSITIONS

GOLDENS = Path(__file__).parent / "goldens" / "rope.npz"


@pytest.mark.parametrize("name", ROPE_CASES)
def test_tables_equal_hugging_faces_to_the_rounding_of_the_frequencies(name: str) -> None:
    case = ROPE_CASES[name]
    config = {
        "max_position_embeddings": case.max_position_embeddings,
        "rope_theta": case.theta,
        "rope_scaling": case.scaling,
    }
    rope = read_rope(Fields(config, "config.json"))
    positions = np.array(ROPE_POSITIONS)
    if case.length is None:
        table = cos_sin_table(rope, case.head_dim, positions.max() + 1)[positions]
    else:
        lengths = np.full(len(positions), case.length)
        table = dynamic_cos_sin(rope, case.head_dim, positions, lengths)
    with np.load(GOLDENS) as file:
        expected = file[name]
    # PyTorch's own power is off by an ulp now and then, and the position multiplies that.
    angles = positions[:, None] * inverse_frequencies(rope, case.head_dim)
    tolerance = np.finfo(np.float32).eps * (1.0 + np.tile(angles, 2))
    assert (np.abs(table - expected) <= tolerance).all()
    # ... but few frequencies are affected: nearly all columns agree to the last bit or two.
    assert np.mean(np.abs(table - expected).max(axis=0) < 2e-7) > 0.9
