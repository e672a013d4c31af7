"""`lite chat`: talk to a model in the terminal, or ask it one thing."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lite.cli import flags, sampling
from lite.cli.loading import COMMAND_DEFAULTS, open_llm
from lite.errors import ConfigError, EngineDeadError, LiteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lite.llm import LLM
    from lite.sampling_params import SamplingParams

_HELP = """\
/reset          forget the conversation
/system TEXT    set the system prompt and forget the conversation; without TEXT: none
/help           show this
/exit           leave, as Ctrl-D does
Ctrl-C stops an answer; Alt-Enter starts a new line."""

# SAFETY: a model must not send escape sequences to the terminal.
_UNPRINTABLE = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def add_command(commands: flags.Commands) -> None:
    """Add the command to the parser."""
    parser = flags.add_command(
        commands,
        "chat",
        "Talk to a model in the terminal, or ask it one thing.",
        flags.ENGINE_SECTIONS,
        defaults=COMMAND_DEFAULTS,
    )
    parser.add_argument(
        "message", nargs="*", metavar="MESSAGE",
        help="answer this and end; default: the lines of the terminal or of standard input",
    )  # fmt: skip
    parser.add_argument("--system", metavar="TEXT", help="the system prompt")
    parser.add_argument("--i", action="store_true", help="interactive, as this command always is")
    sampling.add_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer the message, or each line until the end of input, printing as the text comes."""
    message = " ".join(arguments.message).strip()
    if arguments.message and not message:
        raise ConfigError("The message is empty; give some text, or no MESSAGE to type it.")
    loaded = flags.load(arguments)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    with open_llm(loaded) as llm:
        params = sampling.sampling_params(llm, arguments, max_tokens=None)
        conversation = Conversation(llm, params, system=arguments.system)
        if message:
            conversation.ask(message, sys.stdout)
            print(flush=True)
            return 0
        if interactive:
            print("Type a message; /help lists the commands, Ctrl-D leaves.")
        for line in _terminal_lines() if interactive else _plain_lines(sys.stdin):
            if not conversation.take(line, sys.stdout):
                break
    return 0


class Conversation:
    """The messages so far, and what a line of input does to them."""

    def __init__(self, llm: "LLM", params: "SamplingParams", *, system: str | None = None) -> None:
        self.llm = llm
        self.params = params
        self.messages: list[dict[str, str]] = []
        self._reset(system)

    def _reset(self, system: str | None) -> None:
        self.system = system or None
        self.messages[:] = [{"role": "system", "content": system}] if system else []

    def take(self, line: str, out: TextIO) -> bool:
        """Answer a message or obey a command; False ends the chat."""
        line = line.strip()
        command, _, argument = line.partition(" ")
        if command in ("/exit", "/quit"):
            return False
        if command == "/reset":
            self._reset(self.system)
        elif command == "/system":
            self._reset(argument.strip())
        elif command.startswith("/"):
            print(_HELP if command == "/help" else f"no command {command}; try /help", file=out)
        elif line:
            self._answer(line, out)
        return True

    def ask(self, text: str, out: TextIO) -> None:
        """Stream the answer to a message; as far as it came, it stays in the conversation."""
        self.messages.append({"role": "user", "content": text})
        answer: list[str] = []
        try:
            with closing(self.llm.stream(self.messages, self.params)) as stream:
                for delta in stream:
                    answer.append(delta.text)
                    out.write(delta.text.translate(_UNPRINTABLE))
                    out.flush()
        finally:
            if answer:
                self.messages.append({"role": "assistant", "content": "".join(answer)})
            else:
                self.messages.pop()

    def _answer(self, text: str, out: TextIO) -> None:
        """Ask; neither Ctrl-C nor a refused message ends the chat."""
        end = "\n"
        try:
            self.ask(text, out)
        except KeyboardInterrupt:
            end = " [stopped]\n"
        except EngineDeadError:
            raise
        except LiteError as error:
            print(f"error: {error}", file=sys.stderr)
        out.write(end)
        out.flush()


def _plain_lines(source: TextIO) -> Iterator[str]:
    yield from source


def _terminal_lines() -> Iterator[str]:
    """Prompt for lines with history and editing; Ctrl-C clears the line, Ctrl-D ends."""
    prompt = _prompt_session()
    while True:
        try:
            yield prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _prompt_session() -> "Callable[[], str]":
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    path = _history_file()
    history: History = FileHistory(path) if path else InMemoryHistory()
    session: PromptSession[str] = PromptSession(history=history, key_bindings=bindings)
    return lambda: session.prompt("> ")


def _history_file() -> str | None:
    """Return a file that only its owner can read, or None where there is no place for it."""
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(root) / "lite" / "chat_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return None
    return str(path)
