"""The server's gunicorn settings, without an engine process."""

from server.gunicorn_conf import *  # noqa: F403


def when_ready(_server: object) -> None:
    """Start nothing."""
