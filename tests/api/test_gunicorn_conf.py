"""What the master does where gunicorn itself would stumble."""

from types import SimpleNamespace

from gunicorn.errors import HaltServer

from server import gunicorn_conf
from server.board import Board


def test_stopping_goes_on_while_more_workers_turn_out_not_to_boot() -> None:
    calls = []

    def stop(graceful: bool) -> None:
        calls.append(graceful)
        if len(calls) < 3:
            raise HaltServer("Worker failed to boot.", 3)

    gunicorn_conf._announce_and_stop(SimpleNamespace(board=Board()), stop, False)
    assert calls == [False, False, False]
