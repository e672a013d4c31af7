"""An LLM for a command: the log set up, the configuration applied."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from lite.config import Config
from lite.settings import Loaded

if TYPE_CHECKING:
    from lite.llm import LLM

# What differs from a server: only warnings are shown, and the command waits for its own requests.
_COMMAND_DEFAULTS: dict[str, object] = {
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


def command_config(loaded: Loaded, **defaults: object) -> Config:
    """Return the configuration with the defaults of a command instead of a server's.

    Keywords are further defaults of the engine's section.
    """
    config = loaded.config
    further = {f"engine.{name}": value for name, value in defaults.items()}
    for path, value in (_COMMAND_DEFAULTS | further).items():
        if not loaded.origins[path].startswith(("flag", "environment")):
            section, field = path.split(".")
            changed = replace(getattr(config, section), **{field: value})
            config = replace(config, **{section: changed})
    return config
