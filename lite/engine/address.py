"""Where an engine process listens, and when a silent peer is dead: what both ends agree on."""

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from lite.errors import ConfigError

# A peer that answers no heartbeat for this long is taken for dead: its process is stopped, or its
# machine gone. One that exits is noticed at once.
HEARTBEAT_INTERVAL_MS = 2_000
HEARTBEAT_TIMEOUT_MS = 15_000

# The kernel's limit for the path of a Unix socket is 104 to 108 bytes.
_MAX_PATH_BYTES = 100


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """A parsed `ipc://PATH` or `tcp://HOST:PORT#TOKEN`."""

    endpoint: str  # as ZMQ wants it
    token: bytes = b""  # what every message to the engine starts with; empty on a private socket
    path: Path | None = None

    @property
    def error_file(self) -> Path | None:
        """Where the last reason for the engine's absence is kept, for its clients to report."""
        return None if self.path is None else self.path.with_name(self.path.name + ".error")

    @property
    def lock_file(self) -> Path | None:
        return None if self.path is None else self.path.with_name(self.path.name + ".lock")


def parse_address(text: str) -> EngineAddress:
    """Read an engine address.

    Raises:
        ConfigError: it is not an address, the path is too long, or a TCP address has no token.
    """
    if text.startswith("ipc://"):
        path = Path(text.removeprefix("ipc://"))
        if not path.is_absolute():
            raise ConfigError(f"engine address {text!r}: the path must be absolute.")
        if len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise ConfigError(
                f"engine address {text!r}: the path has {len(os.fsencode(path))} bytes, at most "
                f"{_MAX_PATH_BYTES} are possible; choose a shorter directory."
            )
        return EngineAddress(text, path=path)
    if text.startswith("tcp://"):
        endpoint, _, token = text.partition("#")
        if not token:
            raise ConfigError(
                f"engine address {text!r}: anyone on the machine could use the engine; add "
                "'#' and a secret token, or use ipc://PATH."
            )
        return EngineAddress(endpoint, token=token.encode())
    raise ConfigError(f"engine address {text!r} is not ipc://PATH or tcp://HOST:PORT#TOKEN.")


def private_address(directory: Path) -> str:
    """Return an address that only this user can reach; `directory` must be private (0700)."""
    if hasattr(socket, "AF_UNIX"):
        return f"ipc://{directory / 'engine'}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"tcp://127.0.0.1:{port}#{secrets.token_urlsafe(24)}"
