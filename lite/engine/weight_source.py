"""Where a model's packed weights come from: packed now, the cache, or a packed checkpoint."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from lite.config import ModelConfig
from lite.engine.weights_cache import load_cached
from lite.formats.checkpoint import Checkpoint
from lite.models.fields import Fields
from lite.models.packed_weights import has_embedding, packed_file, read_packed
from lite.models.parts import Part, Quantization, model_parts
from lite.models.quantization import read_quantization, resolve_quantization
from lite.models.spec import Decoder
from lite.models.weights import Packed, Progress, check_tensors, is_tied, pack_parts
from lite_kernels import Kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSource:
    """The weights of an open checkpoint, as they will be packed; nothing is read yet."""

    checkpoint: Checkpoint
    parts: tuple[Part, ...]
    quantization: Quantization | None
    is_packed: bool
    is_cached: bool

    @classmethod
    def find(cls, decoder: Decoder, checkpoint: Checkpoint, model: ModelConfig) -> Self:
        """Check the checkpoint's tensors and decide what becomes of them.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of the wrong shape or type.
            ConfigError: the checkpoint is quantized to another format than asked for.
        """
        stored = read_quantization(Fields(checkpoint.config, str(checkpoint.config_file)))
        quantization = resolve_quantization(model.quantization, stored, str(checkpoint.path))
        is_packed = stored is not None and model.load_format != "dummy"
        if is_packed:
            tied = decoder.tie_word_embeddings and not has_embedding(checkpoint.tensors)
        else:
            check_tensors(decoder, checkpoint)
            tied = is_tied(decoder, checkpoint)
        return cls(
            checkpoint=checkpoint,
            parts=model_parts(decoder, tied=tied, quantization=quantization),
            quantization=quantization,
            is_packed=is_packed,
            # Weights that come from no file have nothing that tells them apart.
            is_cached=model.weights_cache and bool(checkpoint.tensors.files),
        )

    def load(self, kernels: Kernels) -> Packed:
        """Return every part, packed for `kernels`; on a terminal with a progress bar.

        Raises:
            CheckpointError: a packed checkpoint's file is damaged.
        """
        if self.is_packed:
            return read_packed(packed_file(self.checkpoint.path), self.parts, kernels)
        with progress_bar(self.parts, self.quantization) as progress:
            if self.is_cached:
                return load_cached(
                    self.parts, self.checkpoint, kernels, self.quantization, progress
                )
            return dict(pack_parts(self.parts, self.checkpoint.tensors, kernels, progress))


@contextmanager
def progress_bar(
    parts: tuple[Part, ...], quantization: Quantization | None
) -> Iterator[Progress | None]:
    """Show a bar while weights are packed, on a terminal and if it takes long enough to see."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bar = tqdm(
        total=sum(part.num_weights for part in parts),
        desc=f"quantizing to {quantization}" if quantization else "packing",
        unit=" weights",
        unit_scale=True,
        delay=0.5,
        leave=False,
    )
    with bar:
        yield bar.update
