"""An LLM for a command: the log set up, the configuration applied."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lite.config import Config
from lite.settings import Loaded

if TYPE_CHECKING:
    from lite.llm import LLM

# What differs from a server: only warnings are shown, and the command waits for its own requests.
COMMAND_DEFAULTS: Mapping[str, object] = {
    "log.level": "warning",
    "engine.max_waiting_requests": 2**31,
    "engine.max_waiting_tokens": None,
    "engine.queue_timeout_s": None,
}


def open_llm(loaded: Loaded) -> "LLM":
    """Load the configured model; flags and variables win over what a command changes."""
    from lite.llm import LLM
    from lite.log import configure

    config = command_config(loaded)
    configure(config.log)
    return LLM.from_config(config)


def command_config(
    loaded: Loaded,
    defaults: Mapping[str, object] = COMMAND_DEFAULTS,
    *,
    from_file: Collection[str] = (),
) -> Config:
    """Return the configuration with the defaults of a command instead of a server's.

    What a flag or a variable gives stays, and what a file gives for the settings `from_file`.
    """
    config = loaded.config
    for path, value in defaults.items():
        is_from_file = path in from_file and loaded.origins[path] != "default"
        if not is_from_file and not loaded.is_explicit(path):
            section, field = path.split(".")
            changed = replace(getattr(config, section), **{field: value})
            config = replace(config, **{section: changed})
    return config
