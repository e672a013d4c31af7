"""The command line: flags, exit codes, and each command around a stand-in model."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from lite.cli import chat, complete, doctor, main
from lite.cli.bench.arguments import OFFLINE_DEFAULTS
from lite.cli.loading import COMMAND_DEFAULTS, command_config
from lite.errors import CapacityError, ContextLengthError, EngineDeadError
from lite.messages import RequestTimings
from lite.outputs import CompletionOutput, OutputDelta, RequestOutput
from lite.sampling_params import SamplingParams
from lite.settings import SETTINGS, load_config
from lite.version import __version__


class EchoLLM:
    """Answers with the words of the last message; says what it was asked."""

    max_model_len = 4096

    def __init__(self) -> None:
        self.asked: list[tuple[Any, SamplingParams]] = []
        self.num_closed_streams = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_default_sampling_params(self) -> SamplingParams:
        return SamplingParams(temperature=0.6, max_tokens=16)

    def stream(
        self, messages: Sequence[Mapping[str, str]], params: SamplingParams
    ) -> Iterator[OutputDelta]:
        self.asked.append(([dict(message) for message in messages], params))
        try:
            for word in messages[-1]["content"].split():
                yield OutputDelta(index=0, text=f"{word} ", token_ids=[1])
            if self.failure is not None:
                raise self.failure
        finally:
            self.num_closed_streams += 1

    def generate(
        self, prompts: Sequence[Any], params: SamplingParams, use_tqdm: bool
    ) -> list[RequestOutput]:
        self.asked.append((list(prompts), params))
        timings = RequestTimings(queue_s=0.1, prefill_s=0.3, decode_s=1.0)
        return [
            RequestOutput(
                request_id=str(i),
                prompt=None,
                prompt_token_ids=[1, 2, 3],
                outputs=[CompletionOutput(index=0, text=f"<{prompt}>", token_ids=[4, 5])],
                timings=timings,
            )
            for i, prompt in enumerate(prompts)
        ]

    chat = generate


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("LITE_", "VLLM_", "LLM_")):
            monkeypatch.delenv(name)


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> EchoLLM:
    echo = EchoLLM()
    for module in (chat, complete):
        monkeypatch.setattr(module, "open_llm", lambda _loaded: echo)
    return echo


def usage_error(*argv: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_fp8_keys_and_values_are_refused_with_the_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "show", "--fp8-kvcache"]) != 0
    assert "set kv_cache_dtype to int8" in capsys.readouterr().err


# --- the command as a whole ------------------------------------------------------------------


def test_python_dash_m_lite_prints_the_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lite", "--version"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout == f"lite {__version__}\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_an_empty_one(closed: str) -> None:
    code = (
        "import sys; from lite.cli import chat, main;"
        "report = lambda: print(len(sys.stdin.read()), file=sys.stderr);"
        "chat.run = lambda _: report() or sys.stdout.write('');"
        "sys.exit(main(['chat']))"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code],
        input="text", capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    read = "0\n" if "<" in closed else "4\n"
    assert done.stderr == ("" if "2>" in closed else read)


@pytest.mark.parametrize("command", ["serve", "chat", "complete", "doctor", "config show"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error(*command.split(), "--help") == 0
    text = capsys.readouterr().out
    assert "--max-num-seqs" in text
    assert "an integer >= 1" in text


def test_serve_has_a_flag_for_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    usage_error("serve", "--help")
    text = capsys.readouterr().out
    assert [s.flag for s in SETTINGS.values() if f"{s.flag} " not in text.replace(",", " ")] == []


def test_no_command_and_unknown_commands_are_wrong_usage() -> None:
    assert usage_error() == 2
    assert usage_error("surf") == 2


def test_an_unknown_flag_is_refused_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert usage_error("serve", "--max-num-seq=3") == 2
    assert "did you mean --max-num-seqs?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("--port", "high"), "flag --port: server.port is 'high', but must be an integer >= 0"),
        (("--tensor-parallel-size", "2"), "tensor parallelism is not implemented"),
        (("--d", "0"), "the engine runs on the CPU"),
        (("-c", "missing.yaml"), "missing.yaml: cannot be read"),
        (("--host", "0.0.0.0"), "no API key is set"),
    ],
)
def test_an_error_is_one_line_without_a_traceback(
    argv: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "validate", *argv]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert text in err


def test_an_interrupted_command_ends_with_130(
    llm: EchoLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(llm, "generate", interrupted)
    assert main(["complete", "--prompts", "a"]) == 130


# --- config ----------------------------------------------------------------------------------


def test_config_show_prints_a_file_that_gives_the_same_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "show", "--port", "9", "--max-num-seqs", "4k", "--no-log-prompts"]) == 0
    Path("shown.yaml").write_text(capsys.readouterr().out)
    config = load_config("shown.yaml", {}).config
    assert (config.server.port, config.engine.max_num_seqs) == (9, 4000)


def test_config_show_origin_says_where_each_value_comes_from_and_hides_keys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_KV_BLOCKS", "64")
    argv = ["config", "show", "--origin", "-p", "9", "--api-key", "sk-1", "--api-key", "sk-2,sk-3"]
    assert main(argv) == 0
    rows = (line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines())
    lines = {row[0]: row for row in rows}
    assert lines["server.port"] == ["server.port", "9", "flag --port"]
    assert lines["engine.num_kv_blocks"][2] == "environment VLLM_KV_BLOCKS"
    assert lines["server.host"][2] == "default"
    assert lines["auth.api_keys"][1:] == ["(hidden)", "flag --api-keys"]
    assert set(lines) == set(SETTINGS)


def test_config_validate_names_the_place_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("server:\n  prot: 1\n")
    assert main(["config", "validate", "a.yaml"]) == 2
    assert "a.yaml:2:3: unknown key 'server.prot'" in capsys.readouterr().err
    Path("a.yaml").write_text("server:\n  port: 1\n")
    assert main(["config", "validate", "a.yaml"]) == 0


# --- serve -----------------------------------------------------------------------------------


def test_serve_becomes_gunicorn_with_the_flags_in_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *call: handed.extend(call))
    monkeypatch.setenv("LITE_PORT", "1")
    Path("a.yaml").write_text("server: {workers: 3}")
    main(["serve", "-c", "a.yaml", "-m", "some/model", "-p", "9", "--api-key", "k,1"])
    program, command, environ = handed
    assert program == sys.executable
    assert command[1:] == ["-m", "server"]
    config = load_config(environ=environ).config
    assert (config.server.port, config.server.workers) == (9, 3)
    assert (config.model.model, config.auth.api_keys) == ("some/model", ["k", "1"])
    assert Path(environ["LITE_CONFIG"]).is_absolute()


def test_serve_refuses_before_it_starts_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("started"))
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert main(["serve", "--port", "70000"]) == 2


# --- complete --------------------------------------------------------------------------------


def test_complete_prints_every_answer_and_two_lines_of_speed(
    llm: EchoLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["complete", "--prompts", "a b | c", "--max-tokens", "7", "--stop", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "--- 1/2: a b\n<a b>\n--- 2/2: c\n<c>\n"
    first, second = captured.err.splitlines()
    assert first == "Prompt tokens: 6 in 0.40s (15.00 tokens/s)"
    assert second.startswith("Decoded tokens: 4 in ")
    assert second.endswith(" tokens/s)")
    ((prompts, params),) = llm.asked
    assert prompts == ["a b", "c"]
    assert (params.max_tokens, params.temperature, params.stop) == (7, 0.6, ("x",))


def test_complete_reads_prompts_from_a_file_and_repeats_them(
    llm: EchoLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("prompts").write_text("one\n\ntwo | still two\n")
    assert main(["complete", "--file", "prompts", "--batch", "2", "--chat"]) == 0
    ((conversations, _),) = llm.asked
    assert [messages[0]["content"] for messages in conversations] == ["one", "two | still two"] * 2
    assert main(["complete", "--file", "missing"]) == 2


def test_complete_reads_standard_input(llm: EchoLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\nb\n"))
    assert main(["complete"]) == 0
    assert llm.asked[0][0] == ["a", "b"]


def test_complete_without_any_prompt_is_refused(
    llm: EchoLLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["complete"]) == 2
    assert "There is no prompt" in capsys.readouterr().err
    assert llm.asked == []


def test_a_bad_sampling_parameter_is_refused(
    llm: EchoLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["complete", "--prompts", "a", "--top-p", "3"]) == 2
    assert "top_p must be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "defaults"),
    [
        (("serve",), {"log.level": "info", "engine.max_waiting_requests": 1024}),
        (("chat",), COMMAND_DEFAULTS),
        (("complete",), COMMAND_DEFAULTS),
        (("bench", "latency"), {**COMMAND_DEFAULTS, "engine.enable_prefix_caching": False}),
        (("quantize",), {"model.quantization": "int8", "log.level": "warning"}),
    ],
)
def test_help_shows_the_defaults_of_the_command(
    argv: tuple[str, ...], defaults: Mapping[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*argv, "--help"])
    words = " ".join(capsys.readouterr().out.split())
    for path, value in defaults.items():
        setting = SETTINGS[path]
        assert f"{setting.rule} (default {setting.show(value)})" in words


def test_commands_wait_for_their_own_requests_unless_told_otherwise() -> None:
    config = command_config(load_config(environ={}))
    assert config.engine.max_waiting_requests > 10**6
    assert (config.engine.queue_timeout_s, config.log.level) == (None, "warning")
    flags = {"engine.max_waiting_requests": 3, "log.level": "info"}
    config = command_config(load_config(environ={}, flags=flags))
    assert (config.engine.max_waiting_requests, config.log.level) == (3, "info")


def test_a_file_asks_for_what_it_may_ask_for(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("engine: {enable_prefix_caching: true, max_waiting_requests: 3}")
    loaded = load_config(path, environ={})
    name = "engine.enable_prefix_caching"
    for from_file, expected in (((), False), ((name,), True)):
        config = command_config(loaded, OFFLINE_DEFAULTS, from_file=from_file)
        assert config.engine.enable_prefix_caching is expected
        assert config.engine.max_waiting_requests > 10**6


# --- chat ------------------------------------------------------------------------------------


def test_chat_without_a_terminal_answers_each_line(
    llm: EchoLLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello there\n\nagain\n"))
    assert main(["chat", "--system", "be kind", "--temperature", "0"]) == 0
    assert capsys.readouterr().out == "hello there \nagain \n"
    messages, params = llm.asked[1]
    assert [(m["role"], m["content"]) for m in messages] == [
        ("system", "be kind"),
        ("user", "hello there"),
        ("assistant", "hello there "),
        ("user", "again"),
    ]
    assert (params.temperature, params.max_tokens) == (0.0, None)


@pytest.mark.parametrize(
    "argv",
    [
        ["hello there"],
        ["--temperature", "0", "hello", "there"],
        ["--system", "be kind", "hello there", "--no-log-prompts"],
        ["--i", "--", "hello", "there"],
    ],
)
def test_chat_answers_a_message_of_its_own_and_ends(
    argv: list[str],
    llm: EchoLLM,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("not read\n"))
    assert main(["chat", *argv]) == 0
    assert capsys.readouterr().out == "hello there \n"
    ((messages, _),) = llm.asked
    assert messages[-1] == {"role": "user", "content": "hello there"}
    assert [m["content"] for m in messages[:-1]] == ["be kind"] * ("--system" in argv)


def test_chat_with_a_message_that_fails_ends_with_2(
    llm: EchoLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", " "]) == 2
    assert "The message is empty" in capsys.readouterr().err
    assert llm.asked == []
    llm.failure = ContextLengthError("too long")
    assert main(["chat", "long words"]) == 2
    assert "error: too long" in capsys.readouterr().err
    llm.failure = KeyboardInterrupt()
    assert main(["chat", "long words"]) == 130


def conversation(llm: EchoLLM, **options: Any) -> tuple[chat.Conversation, io.StringIO]:
    return chat.Conversation(llm, SamplingParams(), **options), io.StringIO()  # type: ignore[arg-type]


def test_commands_reset_the_conversation_and_change_the_system_prompt(llm: EchoLLM) -> None:
    talk, out = conversation(llm, system="one")
    for line in ("hi", "/reset", "/system two", "hi"):
        assert talk.take(line, out)
    assert [m["content"] for m in talk.messages] == ["two", "hi", "hi "]
    talk.take("/system", out)
    assert talk.messages == []
    talk.take("/help", out)
    assert "/reset" in out.getvalue()
    talk.take("/nothing", out)
    assert "no command /nothing" in out.getvalue()
    assert not talk.take("/exit", out)


def test_ctrl_c_stops_only_the_answer(llm: EchoLLM) -> None:
    talk, out = conversation(llm)
    llm.failure = KeyboardInterrupt()
    assert talk.take("some words", out)
    assert out.getvalue() == "some words  [stopped]\n"
    assert llm.num_closed_streams == 1
    llm.failure = None
    assert talk.take("more", out)
    assert [m["role"] for m in talk.messages] == ["user", "assistant"] * 2


def test_a_refused_message_is_not_part_of_the_conversation(
    llm: EchoLLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk, out = conversation(llm)

    def refuse(*_: object) -> Iterator[OutputDelta]:
        raise ContextLengthError("too long")
        yield

    monkeypatch.setattr(llm, "stream", refuse)
    assert talk.take("long words", out)
    assert talk.messages == []
    assert "error: too long" in capsys.readouterr().err


def test_a_dead_engine_ends_the_chat(llm: EchoLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    llm.failure = EngineDeadError("gone")
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\nagain\n"))
    assert main(["chat"]) == 2
    assert len(llm.asked) == 1


def test_escape_sequences_of_a_model_do_not_reach_the_terminal(llm: EchoLLM) -> None:
    talk, out = conversation(llm)
    talk.take("\x1b[31mred\x07 \x9bü", out)
    assert out.getvalue() == "[31mred ü \n"
    assert talk.messages[-1]["content"] == "\x1b[31mred\x07 \x9bü "


def test_speed_of_decoding_leaves_out_the_tokens_that_come_with_the_prompts(llm: EchoLLM) -> None:
    outputs = llm.generate(["a", "b"], SamplingParams(), use_tqdm=False)
    decoded = complete.report(outputs, elapsed_s=1.4)[1]
    assert decoded == "Decoded tokens: 4 in 1.00s (2.00 tokens/s)"


# --- doctor ----------------------------------------------------------------------------------


def test_doctor_lists_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for topic in ("python", "isa", "cores", "memory", "kernel cache", "numba", "memory plan"):
        assert topic in text
    assert "FAIL" not in text


def test_doctor_goes_on_after_a_problem_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[doctor.Finding]:
        raise CapacityError("no memory\nat all")
        yield

    monkeypatch.setattr(doctor, "_memory", broken)
    assert main(["doctor", "--model", "missing/model"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert "no memory at all" in failed[0]
    assert "missing/model" in failed[1]


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--kv-cache-dtype", "float32", "kv_cache_dtype is float32"),
        ("--num-threads", "2000", "must be from 1 to 1024"),
        ("--max-model-len", "1000000", "the model was made for"),
        ("--kv-cache-memory", "1", "one block of 16 tokens takes"),
    ],
)
def test_doctor_finds_what_would_end_the_start(
    flag: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", flag, value]) == 1
    (failed,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert reason in failed


def test_doctor_says_how_many_threads_and_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1,4")
    assert main(["doctor"]) == 0
    assert "threads        1 (OMP_NUM_THREADS)\n" in capsys.readouterr().out
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert main(["doctor", "--num-threads", "1"]) == 0
    assert "threads        1 (num_threads)\n" in capsys.readouterr().out
    assert main(["doctor"]) == 0
    assert "OMP_NUM_THREADS='many' is ignored" in capsys.readouterr().out
