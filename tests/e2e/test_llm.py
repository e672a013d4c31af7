"""LLM: the engine inside a program, end to end on tiny checkpoints."""

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lite import (
    LLM,
    ConfigError,
    ContextLengthError,
    EngineClosedError,
    InvalidRequestError,
    SamplingParams,
)
from lite.outputs import OutputDelta
from tests.checkpoints import make_checkpoint

GREEDY = SamplingParams(temperature=0.0, max_tokens=12)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("model"), gain=3.0)


@pytest.fixture(scope="module")
def llm(checkpoint: Path) -> Iterator[LLM]:
    with LLM(str(checkpoint), max_model_len=256, num_kv_blocks=128) as llm:
        yield llm


def wait_until_idle(llm: LLM, timeout_s: float = 2.0) -> None:
    deadline = time.monotonic() + timeout_s
    while (stats := llm.stats()).num_free_blocks < stats.num_blocks or stats.num_waiting:
        assert time.monotonic() < deadline, stats
        time.sleep(0.01)


def test_generate_takes_a_string_a_list_and_token_ids(llm: LLM) -> None:
    (one,) = llm.generate("Hello there", GREEDY, use_tqdm=False)
    assert one.prompt == "Hello there"
    assert one.finished
    assert len(one.outputs[0].token_ids) == 12
    assert one["text"] == one.outputs[0].text
    assert one["token_ids"] == one.outputs[0].token_ids
    ids = llm.get_tokenizer().encode("Hello there")
    same = llm.generate(
        ["Hello there", {"prompt_token_ids": ids}, {"prompt": "Hello there"}, ids],
        GREEDY,
        use_tqdm=False,
    )
    assert [output["token_ids"] for output in same] == [one["token_ids"]] * 4


def test_outputs_come_in_the_order_of_the_prompts(llm: LLM) -> None:
    prompts = [f"Number {i}" for i in range(20)]
    params = [GREEDY.clone(max_tokens=1 + i % 7) for i in range(20)]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    assert [output.prompt for output in outputs] == prompts
    assert [len(output["token_ids"]) for output in outputs] == [p.max_tokens for p in params]


def test_stream_deltas_join_to_the_whole_text(llm: LLM) -> None:
    (whole,) = llm.generate("A stream", GREEDY, use_tqdm=False)
    deltas = list(llm.stream("A stream", GREEDY))
    assert "".join(delta.text for delta in deltas) == whole["text"]
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].num_output_tokens == 12


def test_closing_a_stream_frees_its_blocks(llm: LLM) -> None:
    stream = llm.stream("An endless one", GREEDY.clone(max_tokens=200))
    next(stream)
    stream.close()
    wait_until_idle(llm)


def test_dropping_a_stream_frees_its_blocks(llm: LLM) -> None:
    next(llm.stream("An endless one", GREEDY.clone(max_tokens=200)))
    gc.collect()
    wait_until_idle(llm)


def test_a_stop_string_ends_the_output_and_the_work(llm: LLM) -> None:
    (free,) = llm.generate("Stop here", GREEDY.clone(max_tokens=60), use_tqdm=False)
    stop = free["text"][4:7]
    (cut,) = llm.generate("Stop here", GREEDY.clone(max_tokens=60, stop=stop), use_tqdm=False)
    assert cut["text"] == free["text"][: free["text"].index(stop)]
    assert (cut.outputs[0].finish_reason, cut.outputs[0].stop_reason) == ("stop", stop)
    wait_until_idle(llm)


def test_one_of_n_may_stop_while_the_others_go_on(llm: LLM) -> None:
    params = SamplingParams(n=4, seed=5, max_tokens=40)
    (free,) = llm.generate("Several", params, use_tqdm=False)
    stop = free.outputs[0].text[3:6]
    (cut,) = llm.generate("Several", params.clone(stop=[stop]), use_tqdm=False)
    for whole, part in zip(free.outputs, cut.outputs, strict=True):
        assert part.text == whole.text.partition(stop)[0]
    wait_until_idle(llm)


def test_logprobs_have_vllms_shape(llm: LLM) -> None:
    params = GREEDY.clone(logprobs=2, prompt_logprobs=1)
    (output,) = llm.generate("Log this", params, use_tqdm=False)
    completion = output.outputs[0]
    assert completion.logprobs is not None
    assert len(completion.logprobs) == len(completion.token_ids)
    for token_id, position in zip(completion.token_ids, completion.logprobs, strict=True):
        assert position[token_id].rank == 1  # greedy
        assert len(position) == 2
    assert completion.cumulative_logprob == pytest.approx(
        sum(p[t].logprob for t, p in zip(completion.token_ids, completion.logprobs, strict=True))
    )
    assert output.prompt_logprobs is not None
    assert output.prompt_logprobs[0] is None
    assert len(output.prompt_logprobs) == len(output.prompt_token_ids)
    for token_id, entry in zip(
        output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True
    ):
        assert entry is not None
        assert token_id in entry


def test_prompt_logprobs_agree_with_the_logprobs_of_generation(llm: LLM) -> None:
    (first,) = llm.generate("Once more", GREEDY.clone(logprobs=0), use_tqdm=False)
    ids = first.prompt_token_ids + first["token_ids"]
    (again,) = llm.generate([ids], GREEDY.clone(max_tokens=1, prompt_logprobs=0), use_tqdm=False)
    assert again.prompt_logprobs is not None
    assert first.outputs[0].logprobs is not None
    tail = again.prompt_logprobs[len(first.prompt_token_ids) :]
    for token_id, entry, position in zip(
        first["token_ids"], tail, first.outputs[0].logprobs, strict=True
    ):
        assert entry is not None
        assert entry[token_id].logprob == position[token_id].logprob


def test_chat_uses_the_template_and_reports_cached_tokens(llm: LLM) -> None:
    messages = [{"role": "user", "content": "Tell me something rather long, please, my friend."}]
    (first,) = llm.chat(messages, GREEDY, use_tqdm=False)
    (second,) = llm.chat([messages], GREEDY, use_tqdm=False)
    assert first["token_ids"] == second["token_ids"]
    assert second.num_cached_tokens > 0
    streamed = "".join(delta.text for delta in llm.stream(messages, GREEDY))
    assert streamed == first["text"]
    assert "<|im_start|>assistant" in llm.apply_chat_template(messages)


def test_allowed_and_banned_tokens_are_obeyed(llm: LLM) -> None:
    params = SamplingParams(max_tokens=30, seed=1, ignore_eos=True)
    (only,) = llm.generate("x", params.clone(allowed_token_ids=[5, 6, 7]), use_tqdm=False)
    assert set(only["token_ids"]) <= {5, 6, 7}
    banned = params.clone(allowed_token_ids=[5, 6, 7], logit_bias={5: -100.0, 6: 50.0})
    (biased,) = llm.generate("x", banned, use_tqdm=False)
    assert set(biased["token_ids"]) == {6}


def test_bad_words_do_not_appear(llm: LLM) -> None:
    (free,) = llm.generate("bad", GREEDY, use_tqdm=False)
    words = [w for w in (llm.get_tokenizer().decode([t]) for t in free["token_ids"]) if w.isalpha()]
    assert words
    (clean,) = llm.generate("bad", GREEDY.clone(bad_words=words), use_tqdm=False)
    for word in words:
        assert word not in clean["text"]


def test_penalties_change_a_repetitive_output(llm: LLM) -> None:
    (free,) = llm.generate("again", GREEDY.clone(max_tokens=60), use_tqdm=False)
    (varied,) = llm.generate(
        "again", GREEDY.clone(max_tokens=60, frequency_penalty=2.0), use_tqdm=False
    )
    assert len(set(varied["token_ids"])) > len(set(free["token_ids"]))


def test_bad_requests_are_refused_before_anything_starts(llm: LLM) -> None:
    with pytest.raises(ContextLengthError, match=r"context of 256"):
        llm.generate(["fine", "x" * 5000], GREEDY, use_tqdm=False)
    with pytest.raises(InvalidRequestError, match="vocabulary"):
        llm.generate([[10**7]], GREEDY, use_tqdm=False)
    with pytest.raises(InvalidRequestError, match="empty"):
        llm.generate({"prompt_token_ids": []}, GREEDY, use_tqdm=False)
    with pytest.raises(InvalidRequestError, match="integers"):
        llm.generate({"prompt_token_ids": [1.5]}, GREEDY, use_tqdm=False)
    with pytest.raises(InvalidRequestError, match="2 prompts but 1"):
        llm.generate(["a", "b"], [GREEDY], use_tqdm=False)
    with pytest.raises(InvalidRequestError, match="temperature"):
        SamplingParams(temperature=-1.0)
    with pytest.raises(InvalidRequestError, match="SamplingParams or a list of them"):
        llm.generate("a", {"max_tokens": 3}, use_tqdm=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("prompts", [None, 5, b"text", ["a", 5], {"prompt_token_ids": "text"}])
def test_what_is_no_prompt_is_refused_by_its_type(llm: LLM, prompts: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"A prompt is a string, .*; got a (\w+)"):
        llm.generate(prompts, GREEDY, use_tqdm=False)


def test_token_ids_may_be_an_array(llm: LLM) -> None:
    ids = llm.get_tokenizer().encode("Hello there")
    (plain,) = llm.generate([ids], GREEDY, use_tqdm=False)
    (array,) = llm.generate(np.array(ids), GREEDY, use_tqdm=False)
    assert array["token_ids"] == plain["token_ids"]
    assert sum(len(d.token_ids) for d in llm.stream(np.array(ids), GREEDY)) == 12


def test_unknown_settings_name_the_known_ones(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'max_num_seqs'\? They are .*, seed, "):
        LLM(str(checkpoint), max_num_sequences=3)
    with pytest.raises(ConfigError, match="both size the KV cache; set one of them"):
        LLM(str(checkpoint), num_kv_blocks=9, kv_cache_memory=10**6)
    with pytest.raises(ConfigError, match="tensor_parallel_size must be 1"):
        LLM(str(checkpoint), tensor_parallel_size=2)
    with pytest.raises(ConfigError, match="block_size is 'many', but must be an integer >= 1"):
        LLM(str(checkpoint), block_size="many")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"LLM\(dtype=...\): .*auto, bfloat16, float32"):
        LLM(str(checkpoint), dtype="float16")


def test_two_engines_work_in_one_process(llm: LLM, tmp_path: Path) -> None:
    other_path = make_checkpoint(tmp_path / "other", architecture="llama", gain=3.0)
    (before,) = llm.generate("Two", GREEDY, use_tqdm=False)
    with LLM(str(other_path), max_model_len=256, dtype="float32") as other:
        results: dict[str, list[int]] = {}

        def work(name: str, engine: LLM) -> None:
            (output,) = engine.generate("Two", GREEDY, use_tqdm=False)
            results[name] = output["token_ids"]

        threads = [
            threading.Thread(target=work, args=pair) for pair in [("llm", llm), ("other", other)]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results["llm"] == before["token_ids"]
    assert len(results["other"]) == 12
    (after,) = llm.generate("Two", GREEDY, use_tqdm=False)
    assert after["token_ids"] == before["token_ids"]


def test_min_tokens_beyond_what_fits_are_refused_by_name(llm: LLM) -> None:
    params = SamplingParams(max_tokens=None, min_tokens=300)
    with pytest.raises(InvalidRequestError, match="min_tokens must be <=") as caught:
        llm.generate("short", params, use_tqdm=False)
    assert caught.value.param == "min_tokens"


def test_prompts_with_the_same_parameters_share_what_is_made_of_them(llm: LLM) -> None:
    params = [SamplingParams(stop=["one", "two"], bad_words=["bad"]) for _ in range(2)]
    one, two = (llm._generator.prepare([5], p, request_id="x") for p in params)
    assert one.stop_strings is two.stop_strings
    assert one.request.sampling.bad_words_token_ids is two.request.sampling.bad_words_token_ids


def test_a_closed_engine_refuses_and_gives_its_memory_back(checkpoint: Path) -> None:
    llm = LLM(str(checkpoint), max_model_len=128)
    weights = weakref.ref(llm._client._core.model.weights.final_norm)
    workspace = weakref.ref(llm._client._core._runner)
    stream = llm.stream("Cut off", GREEDY.clone(max_tokens=100))
    next(stream)
    llm.close()
    llm.close()
    with pytest.raises(EngineClosedError):
        list(itertools.islice(stream, 1000))
    with pytest.raises(EngineClosedError):
        llm.generate("too late", GREEDY, use_tqdm=False)
    gc.collect()
    assert workspace() is None
    assert weights() is None


def test_a_stream_keeps_its_engine_alive(checkpoint: Path) -> None:
    def start() -> Iterator[OutputDelta]:
        llm = LLM(str(checkpoint), max_model_len=128)
        return llm.stream("On its own", GREEDY)

    stream = start()
    gc.collect()
    assert sum(len(delta.token_ids) for delta in stream) == 12


def test_an_idle_engine_uses_no_cpu(llm: LLM) -> None:
    llm.generate("warm", GREEDY, use_tqdm=False)
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.02


def test_vllm_rs_names_work(checkpoint: Path) -> None:
    from lite import Engine, EngineConfig, Message

    config = EngineConfig(model_path=str(checkpoint), max_model_len=256, max_num_seqs=8)
    with Engine(config, "bf16") as engine:
        prompt = engine.apply_chat_template([Message("user", "Hello")], log=False)
        params = SamplingParams(temperature=0.0, max_tokens=8)
        one, two = engine.generate_sync([params], [prompt, prompt])
        assert one.decode_output == two.decode_output
        assert one.decoded_length == 8
        assert one.prompt_start_time <= one.decode_start_time <= one.decode_finish_time
        stream = engine.generate_stream(params, prompt)
        assert "".join(stream) == one.decode_output
        assert stream.finished
        stream = engine.generate_stream(params.clone(max_tokens=100), prompt)
        next(stream)
        stream.cancel()
        assert stream.cancelled
        assert list(stream) == []
    with pytest.raises(ConfigError, match="num_shards=2 is not implemented"):
        EngineConfig(model_path="x", num_shards=2)
    with pytest.raises(ConfigError, match="set kv_cache_dtype='int8'"):
        EngineConfig(model_path="x", fp8_kvcache=True)


def test_a_cache_of_int8_answers(checkpoint: Path) -> None:
    with LLM(str(checkpoint), kv_cache_dtype="int8", max_model_len=256, num_kv_blocks=64) as llm:
        first, second = llm.generate(["Hello there"] * 2, GREEDY, use_tqdm=False)
    assert len(first.outputs[0].token_ids) == 12
    assert first.outputs[0].token_ids == second.outputs[0].token_ids


def test_a_float_format_of_the_cache_must_be_that_of_the_model(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"set model\.dtype to float32 too"):
        LLM(str(checkpoint), dtype="bfloat16", kv_cache_dtype="float32")


def test_vllm_rs_quant_quantizes(checkpoint: Path) -> None:
    from lite import Engine, EngineConfig

    settings = {"model_path": str(checkpoint), "max_model_len": 256, "num_blocks": 64}
    outputs = {}
    for quant in (None, "q8_0", "int8", "q4k"):
        with Engine(EngineConfig(**settings, quant=quant)) as engine:
            (output,) = engine.generate_sync([GREEDY.clone(logprobs=0)], ["Hello there"])
            outputs[quant] = output.decode_output
    assert outputs["q8_0"] == outputs["int8"]
    assert outputs["q4k"] != outputs[None]
    with pytest.raises(ConfigError, match=r"quantization.*'q3x'"):
        Engine(EngineConfig(**settings, quant="q3x"))
