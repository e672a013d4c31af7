"""The log: formats, fields, request ids, and keys that stay hidden."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lite.config import LogConfig
from lite.errors import ConfigError
from lite.log import LOGGERS, configure, get_logger, request_context


class Terminal(io.StringIO):
    """Standard error of a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore_loggers() -> Iterator[None]:
    before = {n: (logging.getLogger(n).level, logging.getLogger(n).propagate) for n in LOGGERS}
    yield
    for name, (level, propagate) in before.items():
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().err


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_carry_event_level_time_logger_and_fields(stderr: Callable[[], str]) -> None:
    configure(LogConfig(format="json"))
    get_logger("lite.engine", device="cpu").info("engine ready", num_blocks=3, text="ü")
    (line,) = json_lines(stderr())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "engine ready",
        "level": "info",
        "logger": "lite.engine",
        "device": "cpu",
        "num_blocks": 3,
        "text": "ü",
    }


def test_auto_is_json_in_a_pipe_and_console_on_a_terminal(
    stderr: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(LogConfig())
    get_logger("lite.x").info("hello")
    assert json_lines(stderr())[0]["event"] == "hello"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure(LogConfig())
    get_logger("lite.x").info("hello")
    assert "hello" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


@pytest.mark.parametrize("field", ["name", "args", "msg", "module", "process", "level_of", "extra"])
def test_any_field_name_will_do(stderr: Callable[[], str], field: str) -> None:
    configure(LogConfig(format="json"))
    get_logger("lite.x").info("hello", **{field: "value"})
    assert json_lines(stderr())[0][field] == "value"


def test_the_level_is_kept(stderr: Callable[[], str]) -> None:
    configure(LogConfig(format="json", level="warning"))
    get_logger("lite.x").info("quiet")
    get_logger("server.x").warning("loud")
    assert [line["event"] for line in json_lines(stderr())] == ["loud"]


def test_the_request_id_is_in_every_line_of_its_block(stderr: Callable[[], str]) -> None:
    configure(LogConfig(format="json"))
    with request_context("req-7"):
        get_logger("server.chat").info("one")
    get_logger("server.chat").info("two")
    one, two = json_lines(stderr())
    assert one["request_id"] == "req-7"
    assert "request_id" not in two


@pytest.mark.parametrize("format_name", ["json", "console"])
def test_keys_are_hidden_in_fields_texts_and_tracebacks(
    stderr: Callable[[], str], tmp_path: Path, format_name: Any
) -> None:
    path = tmp_path / "log"
    configure(
        LogConfig(format=format_name, file=str(path)), secrets=["sk-abc", "", "sk-abc-longer"]
    )
    log = get_logger("lite.x")
    log.info(
        "called with sk-abc-longer",
        authorization="Basic anything-secret",
        headers={"Authorization": "Bearer other-secret", "x": ["sk-abc"]},
        line="Authorization: Bearer third-secret, more",
    )
    try:
        raise ValueError("the key sk-abc-longer failed")
    except ValueError:
        log.exception("broken")
    logging.getLogger("lite.foreign").warning("got %s", "sk-abc-longer")
    for text in (stderr(), path.read_text()):
        assert "(hidden)" in text
        assert "ValueError" in text
        assert "more" in text
        assert "sk-abc" not in text
        assert "longer" not in text
        assert "secret" not in text


def test_the_file_gets_json_lines_and_configuring_twice_writes_each_line_once(
    stderr: Callable[[], str], tmp_path: Path
) -> None:
    path = tmp_path / "log"
    for _ in range(2):
        configure(LogConfig(format="console", file=str(path)))
    get_logger("lite.x").info("hello")
    assert [line["event"] for line in json_lines(path.read_text())] == ["hello"]
    assert stderr().count("hello") == 1


def test_a_log_file_that_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.file: .* cannot be opened"):
        configure(LogConfig(file=str(tmp_path / "missing" / "log")))


def test_a_program_that_embeds_the_engine_sees_ordinary_log_records(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="lite"):
        get_logger("lite.engine").info("ready at 100 %", num_blocks=3)
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("lite.engine", "ready at 100 %")


def test_an_unconfigured_log_shows_warnings_only() -> None:
    code = (
        "from lite.log import get_logger; log = get_logger('lite.x');"
        "log.info('quiet'); log.warning('loud')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "loud\n"
    assert done.stdout == ""


def test_what_a_terminal_would_obey_is_escaped_on_the_console(stderr: Callable[[], str]) -> None:
    configure(LogConfig(format="console"))
    get_logger("server").info("request finished", path="/a\x1b[31mred\x9b0m\u202eb", other="a\nb")
    written = stderr()
    assert r"path=/a\x1b[31mred\x9b0m\u202eb" in written
    assert r"other='a\nb'" in written
