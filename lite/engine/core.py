"""EngineCore: requests in, tokens out. One thread owns it; it knows no text, sockets or HTTP."""

import heapq
import itertools
import time
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from lite.config import Config
from lite.engine.admission import check_queue, check_request
from lite.engine.loading import LoadedModel, load_model
from lite.engine.requests import (
    Key,
    Output,
    Owner,
    Request,
    cache_salt,
    error_output,
    finished_record,
    token_output,
)
from lite.engine.runner import Runner
from lite.engine.sampler import SampledRows, SequenceSampling, no_token_error
from lite.engine.stats import EngineObserver, NullObserver, StepTrace, no_trace
from lite.engine.warm_up import check_warm_up, warm_up_request
from lite.errors import (
    ContextLengthError,
    EngineError,
    InvalidRequestError,
    LiteError,
    QueueTimeoutError,
)
from lite.log import get_logger
from lite.machine import return_free_memory
from lite.messages import EngineStats, GenerateRequest, TokenOutput
from lite.scheduling import FINISHED_LENGTH, FINISHED_STOP, Batch, Scheduler

IntArray = npt.NDArray[np.int32]

# What the scheduler's events mean to a front end.
REASONS = {FINISHED_STOP: "stop", FINISHED_LENGTH: "length"}

log = get_logger(__name__)


class EngineCore:
    """Continuous batching over one model; `step()` does one schedule, launch, collect, update.

    `owner` is whatever names the front end a request came from; request ids are unique per owner.
    """

    def __init__(self, model: LoadedModel, config: Config, *, trace: StepTrace = no_trace) -> None:
        engine = config.engine
        self._model = model
        self._config = config
        self._runner = Runner(model, engine)
        self._scheduler = self._new_scheduler()
        self._batch = Batch(
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            max_blocks_per_seq=-(-model.plan.max_model_len // engine.block_size),
        )
        self._runner.reserve(self._batch)
        self._observer: EngineObserver = NullObserver()
        self._trace = trace
        self._requests: dict[Key, Request] = {}
        self._outputs: dict[int, Output] = {}
        self._unscheduled: set[int] = set()
        self._prompt_logprob_ids: set[int] = set()
        self._deadlines: list[tuple[float, int, Key]] = []
        self._ready: list[tuple[Owner, TokenOutput]] = []
        self._seq_ids = itertools.count(1)
        self._entry_ids = itertools.count()
        self._seeds = np.random.default_rng(config.model.seed)
        self._started_s = self._last_step_s = time.monotonic()
        self._num_steps = 0
        self.state = "ready"

    @classmethod
    def from_config(cls, config: Config) -> "EngineCore":
        """Load the model of `config`; takes seconds.

        Raises:
            ModelError: the checkpoint cannot be used.
            CapacityError: it does not fit into memory.
        """
        core = cls(load_model(config), config)
        core.warm_up()
        return_free_memory()
        return core

    def _new_scheduler(self) -> Scheduler:
        engine, plan = self._config.engine, self._model.plan
        return Scheduler(
            num_blocks=plan.num_blocks,
            block_size=engine.block_size,
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            max_model_len=plan.max_model_len,
            enable_prefix_caching=engine.enable_prefix_caching,
        )

    def warm_up(self) -> None:
        """Run a short request through every kernel, so that none is compiled while users wait.

        Raises:
            CheckpointError: the weights give NaN or infinite logits.
            UnsupportedModelError: the kernels cannot run it on this machine.
        """
        self._add(warm_up_request(self._model.plan.max_model_len), None, time.monotonic())
        while self.has_work():
            for _, output in self.step():
                check_warm_up(output, self._model.name)
        self._scheduler = self._new_scheduler()
        self._num_steps = 0

    @property
    def model(self) -> LoadedModel:
        return self._model

    # --- requests --------------------------------------------------------------------------

    def add(self, message: GenerateRequest, owner: Owner, arrival_s: float | None = None) -> None:
        """Queue a request; a refusal comes out of the next step as an error output.

        It has waited since `arrival_s` (time.monotonic), which lies before now where a step ran
        meanwhile; None: it comes now.
        """
        try:
            self._add(message, owner, time.monotonic() if arrival_s is None else arrival_s)
        except LiteError as error:
            self._refuse(message, owner, error)

    def _add(self, message: GenerateRequest, owner: Owner, arrival_s: float) -> None:
        if (owner, message.request_id) in self._requests:
            raise InvalidRequestError(f"Request id {message.request_id!r} is already in use.")
        prompt = np.frombuffer(message.prompt_token_ids, np.dtype("<i4")).astype(np.int32)
        plan, engine = self._model.plan, self._config.engine
        check_request(
            message,
            prompt,
            vocab_size=self._model.decoder.vocab_size,
            max_model_len=plan.max_model_len,
        )
        check_queue(
            engine,
            num_seqs=message.n,
            num_tokens=prompt.size,
            num_waiting=self._scheduler.num_waiting,
            num_waiting_tokens=self._scheduler.num_waiting_tokens,
        )
        if not self._outputs:
            self._last_step_s = time.monotonic()
        seed, timeout_s = message.sampling.seed, message.queue_timeout_s
        if timeout_s is None:
            timeout_s = engine.queue_timeout_s
        request = Request(
            owner=owner,
            message=message,
            prompt=prompt,
            arrival_s=arrival_s,
            seed=int(self._seeds.integers(2**63)) if seed is None else seed,
            unfinished=message.n,
            deadline_s=None if timeout_s is None else arrival_s + timeout_s,
        )
        # Siblings wait until output 0 has computed the prompt, then share its blocks.
        share = engine.enable_prefix_caching and prompt.size > engine.block_size
        self._start_output(request, 0)
        self._requests[request.key] = request
        siblings = range(1, message.n)
        if share:
            request.held_back = list(siblings)
        else:
            for index in siblings:
                self._start_output(request, index)
        if request.deadline_s is not None:
            entry = (request.deadline_s, next(self._entry_ids), request.key)
            heapq.heappush(self._deadlines, entry)

    def _start_output(self, request: Request, index: int) -> None:
        spec = request.message.sampling
        vocab_size = self._model.decoder.vocab_size
        stop_token_ids = [i for i in spec.stop_token_ids if 0 <= i < vocab_size]
        spec = msgspec.structs.replace(
            spec,
            stop_token_ids=stop_token_ids,
            prompt_logprobs=spec.prompt_logprobs if index == 0 else None,  # reported once
        )
        output = Output(
            request=request,
            index=index,
            seq_id=next(self._seq_ids),
            sampling=SequenceSampling.start(spec, request.seed + index, request.prompt),
        )
        try:
            self._scheduler.add(
                output.seq_id,
                request.prompt,
                max_tokens=spec.max_tokens,
                min_tokens=spec.min_tokens,
                stop_token_ids=np.array(stop_token_ids, np.int32),
                salt=cache_salt(request, self._model.decoder.attention.rope),
                read_prefix_cache=spec.prompt_logprobs is None,
            )
        except ValueError as error:
            raise ContextLengthError(str(error)) from error
        request.outputs[index] = output
        self._outputs[output.seq_id] = output
        self._unscheduled.add(output.seq_id)
        if spec.prompt_logprobs is not None:
            self._prompt_logprob_ids.add(output.seq_id)

    def _refuse(self, message: GenerateRequest, owner: Owner, error: LiteError) -> None:
        for index in range(message.n):
            self._ready.append((owner, error_output(message.request_id, index, error)))

    def abort(self, request_id: str, indices: list[int], owner: Owner) -> bool:
        """Stop a request, or some of its outputs; frees their blocks now. False if unknown."""
        request = self._requests.get((owner, request_id))
        if request is None:
            return False
        for index in indices or range(request.message.n):
            if index in request.held_back:
                request.held_back.remove(index)
                self._forget(request)
            elif (output := request.outputs.get(index)) is not None:
                self._end(output, "abort")
        return True

    def abort_owner(self, owner: Owner) -> int:
        """Stop every request of a front end that went away; returns how many."""
        keys = [key for key in self._requests if key[0] == owner]
        for _, request_id in keys:
            self.abort(request_id, [], owner)
        return len(keys)

    def has_work(self) -> bool:
        """Whether `step()` has anything to do."""
        return bool(self._ready or self._outputs)

    def next_deadline(self) -> float | None:
        """Return the monotonic time of the earliest queue timeout, None without one."""
        return self._deadlines[0][0] if self._deadlines else None

    # --- a step ----------------------------------------------------------------------------

    def step(self) -> list[tuple[Owner, TokenOutput]]:
        """Run one step and return what it produced, refusals and timeouts included."""
        trace = self._trace
        trace("schedule")
        self._expire(time.monotonic())
        ready, self._ready = self._ready, []
        start_s = time.monotonic()
        num_seqs = self._scheduler.schedule(self._batch)
        if num_seqs:
            self._note_scheduled(start_s)
            try:
                trace("launch")
                sampled_ids = self._sampled_seq_ids()
                states = [self._outputs[seq_id].sampling for seq_id in sampled_ids]
                self._runner.launch(self._batch, states, self._prompt_lengths())
                trace("collect")
                sampled = self._runner.collect(self._batch, states)
                self._collect_prompt_logprobs()
                trace("update")
            except Exception as error:
                log.exception("step_failed", num_seqs=num_seqs)
                self._fail_batch(error)
            else:
                self._update(sampled_ids, sampled, ready)
            self._num_steps += 1
            self._observer.on_step(
                num_tokens=self._batch.num_tokens,
                num_seqs=num_seqs,
                num_sampled=self._batch.num_sampled,
            )
        self._last_step_s = time.monotonic()
        ready += self._ready
        self._ready = []
        trace("deliver" if self.has_work() else "idle")
        return ready

    def _expire(self, now_s: float) -> None:
        while self._deadlines:
            deadline_s, _, key = self._deadlines[0]
            request = self._requests.get(key)
            waits = request is not None and request.deadline_s == deadline_s
            if waits and deadline_s > now_s:
                return
            heapq.heappop(self._deadlines)
            if request is None or not waits:
                continue
            error = QueueTimeoutError(
                f"The request waited {now_s - request.arrival_s:.1f} s in the queue; "
                f"queue_timeout_s is {deadline_s - request.arrival_s:.4g}. Try again later."
            )
            for index in range(request.message.n):
                self._ready.append((request.owner, error_output(request.key[1], index, error)))
            self.abort(request.key[1], [], request.owner)

    def _note_scheduled(self, now_s: float) -> None:
        if not self._unscheduled:
            return
        for seq_id in self._unscheduled.intersection(self._batch_seq_ids()):
            self._unscheduled.discard(seq_id)
            output = self._outputs[seq_id]
            output.scheduled_s = now_s
            output.request.deadline_s = None
            if output.index == 0:
                output.request.num_cached_tokens = self._scheduler.num_cached_tokens(seq_id)

    def _batch_seq_ids(self) -> list[int]:
        return self._batch.seq_ids[: self._batch.num_seqs].tolist()  # type: ignore[no-any-return]

    def _sampled_seq_ids(self) -> list[int]:
        batch = self._batch
        rows = batch.sampled_seqs[: batch.num_sampled]
        return batch.seq_ids[rows].tolist()  # type: ignore[no-any-return]

    def _prompt_lengths(self) -> IntArray | None:
        if not self._runner.has_dynamic_rope:
            return None
        sizes = [self._outputs[i].request.prompt.size for i in self._batch_seq_ids()]
        return np.array(sizes, np.int32)

    def _collect_prompt_logprobs(self) -> None:
        batch = self._batch
        if not self._prompt_logprob_ids:
            return
        for row, seq_id in enumerate(self._batch_seq_ids()):
            if seq_id not in self._prompt_logprob_ids:
                continue
            output = self._outputs[seq_id]
            request, num_top = output.request, output.sampling.spec.prompt_logprobs
            assert num_top is not None
            if request.prompt_logprobs is None:
                request.prompt_logprobs = [None] * request.prompt.size
            first = int(batch.query_start_loc[row])
            position = int(batch.num_computed_before[row])
            count = int(batch.query_start_loc[row + 1]) - first
            # Position p predicts the prompt token p + 1.
            count = min(count, request.prompt.size - 1 - position)
            if count > 0:
                targets = request.prompt[position + 1 : position + 1 + count]
                entries = self._runner.prompt_logprobs(first, targets, num_top)
                request.prompt_logprobs[position + 1 : position + 1 + count] = entries

    def _update(
        self, seq_ids: list[int], sampled: SampledRows, ready: list[tuple[Owner, TokenOutput]]
    ) -> None:
        now_s = time.monotonic()
        token_ids = sampled.token_ids.tolist()
        for row, (seq_id, token_id) in enumerate(zip(seq_ids, token_ids, strict=True)):
            if token_id < 0:
                self._fail(seq_id, no_token_error(token_id))
                sampled.token_ids[row] = 0  # any token: the sequence is gone
        events = self._scheduler.update(self._batch, sampled.token_ids)
        finished = {seq_id: REASONS[reason] for seq_id, reason, _ in events.tolist()}
        for seq_id, token_id, logprobs in zip(seq_ids, token_ids, sampled.logprobs, strict=True):
            output = self._outputs.get(seq_id)
            if output is None:
                continue
            output.sampling.append(token_id)
            reason = finished.get(seq_id)
            if reason is not None:
                output.num_preemptions = self._scheduler.num_preemptions_of(seq_id)
            first = output.first_token_s is None
            if first:
                output.first_token_s = now_s
                self._observer.on_first_token(now_s - output.request.arrival_s)
            else:
                self._observer.on_token(now_s - output.last_token_s)
            output.last_token_s = now_s
            ready.append(
                (output.request.owner, token_output(output, token_id, logprobs, reason, first))
            )
            if first and output.index == 0:
                self._release_siblings(output.request)
            if reason is not None:
                self._finish(output, reason)

    def _release_siblings(self, request: Request) -> None:
        held_back, request.held_back = request.held_back, []
        for index in held_back:
            try:
                self._start_output(request, index)
            except LiteError as error:
                self._ready.append((request.owner, error_output(request.key[1], index, error)))
                self._forget(request)

    def _finish(self, output: Output, reason: str) -> None:
        del self._outputs[output.seq_id]
        del output.request.outputs[output.index]
        self._unscheduled.discard(output.seq_id)
        self._prompt_logprob_ids.discard(output.seq_id)
        self._observer.on_request_finished(finished_record(output, reason))
        if output.index == 0 and output.request.held_back:
            self._release_siblings(output.request)
        self._forget(output.request)

    def _forget(self, request: Request) -> None:
        request.unfinished -= 1
        if request.unfinished == 0:
            self._requests.pop(request.key, None)

    def _fail(self, seq_id: int, error: LiteError) -> None:
        output = self._outputs.get(seq_id)
        if output is None:
            return
        request = output.request
        self._ready.append((request.owner, error_output(request.key[1], output.index, error)))
        self._end(output, "error")

    def _end(self, output: Output, reason: str) -> None:
        output.num_preemptions = self._scheduler.num_preemptions_of(output.seq_id)
        self._scheduler.abort(output.seq_id)
        self._finish(output, reason)

    def _fail_batch(self, error: Exception) -> None:
        failure = EngineError(f"The step failed: {type(error).__name__}: {error}")
        for seq_id in self._batch_seq_ids():
            self._fail(seq_id, failure)
        self._scheduler.cancel(self._batch)

    # --- state -----------------------------------------------------------------------------

    def set_observer(self, observer: EngineObserver) -> None:
        """Report steps, tokens and finished requests to `observer`."""
        self._observer = observer

    def stats(self) -> EngineStats:
        """Return a snapshot."""
        scheduler, now_s = self._scheduler, time.monotonic()
        return EngineStats(
            state=self.state,
            model=self._model.name,
            device=self._model.kernels.device,
            dtype=self._model.kernels.dtype,
            num_threads=self._model.kernels.threads.number,
            num_threads_origin=self._model.kernels.threads.origin,
            weights_format=self._model.plan.weights_format,
            kv_cache_format=self._model.plan.kv_cache_format,
            num_running=scheduler.num_running,
            num_waiting=scheduler.num_waiting + sum(1 for _ in self._held_back()),
            num_waiting_tokens=scheduler.num_waiting_tokens,
            num_blocks=self._model.plan.num_blocks,
            num_free_blocks=scheduler.num_free_blocks,
            block_size=self._config.engine.block_size,
            max_model_len=self._model.plan.max_model_len,
            prefix_cache_queries=scheduler.prefix_cache_queries,
            prefix_cache_hits=scheduler.prefix_cache_hits,
            num_preemptions=scheduler.num_preemptions,
            num_steps=self._num_steps,
            last_step_age_s=now_s - self._last_step_s if self.has_work() else 0.0,
            uptime_s=now_s - self._started_s,
        )

    def _held_back(self) -> Iterator[int]:
        for request in self._requests.values():
            yield from request.held_back

    def close(self) -> None:
        """Release threads and memory; idempotent."""
        self._runner.close()
