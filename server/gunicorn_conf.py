"""gunicorn's settings, from config.yaml; also starts and stops the engine process.

Used by gunicorn.conf.py in the project's root, and from anywhere as
`-c python:server.gunicorn_conf`.
"""

import functools
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from lite import log
from lite.config import Config
from lite.errors import LiteError
from lite.settings import check_public_bind, load_config
from server.auth import KeyRing
from server.board import Board
from server.worker import GRACE_S, Worker

# How workers, forked later, learn the engine's address: as the setting it is.
_ADDRESS_VARIABLE = "LITE_SERVER_ENGINE_ADDRESS"
# Its requests have been drained with the workers before.
_ENGINE_STOP_S = 5.0
_EXIT_ENGINE = 1


def _load() -> Config:
    try:
        return load_config().config
    except LiteError as error:
        sys.exit(f"error: {error}")


_config = _load()


class ServerLogger(Logger):  # type: ignore[misc]
    """gunicorn's own lines, through the same handlers as ours."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        auth = _config.auth
        try:
            log.configure(
                _config.log,
                secrets=[*auth.api_keys, *auth.admin_keys],
                loggers=(*log.LOGGERS, "gunicorn.error"),
            )
        except LiteError as error:
            sys.exit(f"error: {error}")


_host = _config.server.host
bind = f"[{_host}]:{_config.server.port}" if ":" in _host else f"{_host}:{_config.server.port}"
workers = _config.server.workers
threads = _config.server.threads
worker_class = Worker
worker_connections = max(1000, 4 * threads)
# Sockets, threads and compiled kernels do not survive a fork: each worker loads for itself.
preload_app = False
# Watches the worker's own loop, not its requests.
timeout = 120
graceful_timeout = math.ceil(_config.server.drain_s) + GRACE_S
keepalive = 75
logger_class = ServerLogger
control_socket_disable = True
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"


def on_starting(server: Any) -> None:
    """Refuse to start where anybody could call; prepare what master and workers share."""
    try:
        _check_access(_config, server.cfg.address)
    except LiteError as error:
        sys.exit(f"error: {error}")
    server.board = Board()
    # gunicorn has no hooks at these places.
    server.reload = functools.partial(_check_and_reload, server, server.reload)
    server.stop = functools.partial(_announce_and_stop, server, server.stop)
    server.manage_workers = functools.partial(_watch_engine, server, server.manage_workers)


def when_ready(server: Any) -> None:
    """Start the engine. NOTE: `server` outlives a HUP; a global of this module would not."""
    from lite.engine.supervisor import start

    try:
        server.engine = start(_config)
    except LiteError as error:
        sys.exit(f"error: {error}")
    os.environ[_ADDRESS_VARIABLE] = server.engine.address


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker what it shares with the master."""
    worker.board = server.board
    worker.drain_s = _config.server.drain_s


def child_exit(server: Any, worker: Any) -> None:
    """Forget the room that a worker had, however it ended."""
    server.board.publish(worker.age, 0)


def on_exit(server: Any) -> None:
    """Stop the engine after the workers."""
    if _engine_of(server) is not None:
        server.engine.stop(_ENGINE_STOP_S)


def _engine_of(server: Any) -> Any:
    return getattr(server, "engine", None)


def _check_access(config: Config, addresses: Iterable[object]) -> None:
    if len(KeyRing.load(config.auth)) > 0:
        return
    for address in addresses:
        # A path is a Unix socket, a number an inherited one.
        if isinstance(address, tuple):
            bound = msgspec.structs.replace(config.server, host=address[0])
            check_public_bind(msgspec.structs.replace(config, server=bound))


def _check_and_reload(server: Any, reload: Callable[[], None]) -> None:
    """Keep everything as it is where the new settings would end the server."""
    try:
        config = load_config().config
        new_address = config.server.host, config.server.port
        _check_access(config, [new_address, *server.cfg.address])
    except LiteError as error:
        log.get_logger("server.gunicorn_conf").error("settings not reloaded", reason=str(error))
        return
    reload()


def _announce_and_stop(server: Any, stop: Callable[[bool], None], graceful: bool = True) -> None:
    server.board.announce_stop()
    while True:
        try:
            stop(graceful)
        except HaltServer:
            # It has just taken note of another worker that could not boot: on with the others.
            continue
        return


def _watch_engine(server: Any, manage_workers: Callable[[], None]) -> None:
    engine = _engine_of(server)
    if engine is not None and not engine.is_running():
        raise HaltServer(
            "The engine cannot start, or its supervisor ended; see the log above.", _EXIT_ENGINE
        )
    manage_workers()
