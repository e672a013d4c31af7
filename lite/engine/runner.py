"""Runner: executes one batch on the kernels; forward pass, logits, sampling."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lite.config import EngineConfig
from lite.engine.loading import MAX_LOGITS_ROWS, LoadedModel, kv_quantization
from lite.engine.sampler import SampledRows, Sampler, SequenceSampling, row_logprobs
from lite.messages import TokenLogprobs
from lite.models.decoder import Workspace, compute_logits, forward, write_dynamic_rope
from lite.models.spec import DynamicScaling
from lite.scheduling import Batch
from lite_kernels.interface import Program

IntArray = npt.NDArray[np.int32]
_Shape = tuple[int, int, int, bool]  # tokens, sequences, rows of logits; whether they are drawn

# Recorded programs kept, one per batch shape: enough for every decode width up to 128.
MAX_PROGRAMS = 128


class Runner:
    """The forward pass over fixed workspace arrays, recorded once per batch shape."""

    def __init__(self, model: LoadedModel, engine: EngineConfig) -> None:
        self._model = model
        kernels, decoder = model.kernels, model.decoder
        self._kv_cache = kernels.allocate_kv_cache(
            num_layers=decoder.num_layers,
            num_blocks=model.plan.num_blocks,
            block_size=engine.block_size,
            num_kv_heads=decoder.attention.num_kv_heads,
            head_dim=decoder.attention.head_dim,
            quantization=kv_quantization(engine, kernels.dtype),
        )
        self._workspace = Workspace.allocate(
            decoder, kernels, max_num_tokens=engine.max_num_batched_tokens
        )
        self._num_logits = min(MAX_LOGITS_ROWS, engine.max_num_seqs)
        self._logits = kernels.empty((self._num_logits, decoder.vocab_size), "float32")
        self._rows = kernels.empty((self._num_logits,), "int32")
        self._sampler = Sampler(kernels, self._num_logits)
        self._draws = False
        self._programs: OrderedDict[_Shape, Program] = OrderedDict()

    def reserve(self, batch: Batch) -> None:
        """Make the kernels allocate what the largest step of `batch` needs, once for all steps.

        Else every longer step would leave the memory of the shorter ones to their programs.
        """
        with self._model.kernels.record():
            self._forward(batch, (batch.max_num_batched_tokens, 1, 0, False))

    @property
    def has_dynamic_rope(self) -> bool:
        """Whether `launch` needs the sequences' prompt lengths."""
        return isinstance(self._model.decoder.attention.rope.scaling, DynamicScaling)

    def launch(
        self,
        batch: Batch,
        states: Sequence[SequenceSampling],
        num_prompt_tokens: IntArray | None = None,
    ) -> None:
        """Run the layers over the batch, and the logits of its first sampled rows.

        `states` are those of the sampled rows. Their tokens are drawn in the same run where
        nothing comes in between. `num_prompt_tokens` int32 [S] is needed with dynamic rope scaling
        only.
        """
        if num_prompt_tokens is not None:
            write_dynamic_rope(
                self._model.decoder,
                positions=batch.positions[: batch.num_tokens],
                query_start_loc=batch.query_start_loc[: batch.num_seqs + 1],
                num_prompt_tokens=num_prompt_tokens,
                workspace=self._workspace,
            )
        num_rows = min(batch.num_sampled, self._num_logits)
        self._draws = 0 < batch.num_sampled == num_rows and all(s.is_plain for s in states)
        if self._draws:
            self._sampler.prepare(states)
        shape = (batch.num_tokens, batch.num_seqs, num_rows, self._draws)
        self._rows[:num_rows] = batch.logits_rows[:num_rows]
        program = self._programs.get(shape)
        if program is None:
            with self._model.kernels.record() as program:
                self._forward(batch, shape)
            self._programs[shape] = program
            if len(self._programs) > MAX_PROGRAMS:
                self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(shape)
        self._model.kernels.run(program)

    def _forward(self, batch: Batch, shape: _Shape) -> None:
        num_tokens, num_seqs, num_rows, draws = shape
        model = self._model
        forward(
            model.decoder,
            model.weights,
            model.kernels,
            token_ids=batch.token_ids[:num_tokens],
            positions=batch.positions[:num_tokens],
            slot_mapping=batch.slot_mapping[:num_tokens],
            block_tables=batch.block_tables[:num_seqs],
            seq_lens=batch.seq_lens[:num_seqs],
            query_start_loc=batch.query_start_loc[: num_seqs + 1],
            kv_cache=self._kv_cache,
            workspace=self._workspace,
        )
        if num_rows:
            self._record_logits(num_rows)
        if draws:
            self._sampler.draw(self._logits[:num_rows])

    def _record_logits(self, num_rows: int) -> None:
        compute_logits(
            self._model.decoder,
            self._model.weights,
            self._model.kernels,
            self._workspace.hidden,
            self._rows[:num_rows],
            self._logits[:num_rows],
        )

    def collect(self, batch: Batch, states: Sequence[SequenceSampling]) -> SampledRows:
        """Choose the tokens of the launched batch's sampled rows, unless that is done already."""
        if self._draws:
            return self._sampler.drawn(self._logits[: batch.num_sampled])
        token_ids = np.empty(batch.num_sampled, np.int32)
        logprobs: list[TokenLogprobs | None] = []
        for start in range(0, batch.num_sampled, self._num_logits):
            end = min(start + self._num_logits, batch.num_sampled)
            if start:
                self._rows[: end - start] = batch.logits_rows[start:end]
                self._record_logits(end - start)
            sampled = self._sampler.sample(self._logits[: end - start], states[start:end])
            token_ids[start:end] = sampled.token_ids
            logprobs += sampled.logprobs
        return SampledRows(token_ids, logprobs)

    def prompt_logprobs(
        self, first_row: int, targets: IntArray, num_top: int
    ) -> list[TokenLogprobs]:
        """Report `targets` as predicted by the launched rows from `first_row` on."""
        entries: list[TokenLogprobs] = []
        for start in range(0, targets.size, self._num_logits):
            part = targets[start : start + self._num_logits]
            first = first_row + start
            self._rows[: part.size] = np.arange(first, first + part.size, dtype=np.int32)
            self._record_logits(part.size)
            logits = self._logits[: part.size]
            entries += row_logprobs(self._model.kernels, logits, part, [num_top] * part.size)
        return entries

    def close(self) -> None:
        """Drop the arrays and stop the kernels' threads."""
        self._programs.clear()
        self._kv_cache = []
        self._model.kernels.close()
