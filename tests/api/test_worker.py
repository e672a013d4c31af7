"""The corrected gunicorn worker's parts; tests/e2e runs the whole."""

import multiprocessing
import socket
import time

import pytest

from server import worker
from server.board import Board


def test_a_peer_that_neither_sends_nor_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "IO_TIMEOUT_S", 0.05)
    ours, theirs = socket.socketpair()
    adopted = worker._Socket.adopt(ours)
    with adopted, theirs:
        with pytest.raises(ConnectionResetError):
            adopted.recv(1)
        with pytest.raises(ConnectionResetError):
            adopted.sendall(b"x" * 10_000_000)
        adopted.setblocking(False)
        with pytest.raises(BlockingIOError):
            adopted.recv(1)


def test_a_byte_now_and_then_does_not_hold_a_thread_for_ever() -> None:
    ours, theirs = socket.socketpair()
    with worker._Socket.adopt(ours) as adopted, theirs:
        adopted.read_until_s = time.monotonic() + 0.1
        theirs.sendall(b"a")
        assert adopted.recv(10) == b"a"
        with pytest.raises(ConnectionResetError):
            adopted.recv(10)


def test_an_adopted_socket_still_moves_bytes() -> None:
    ours, theirs = socket.socketpair()
    with worker._Socket.adopt(ours) as adopted, theirs:
        theirs.sendall(b"ping")
        assert adopted.recv(10) == b"ping"
        adopted.sendall(b"pong")
        assert theirs.recv(10) == b"pong"


def _publish(board: Board) -> None:
    board.publish(7, 3)


def test_what_a_process_writes_on_the_board_others_read() -> None:
    board = Board()
    assert not board.stopping
    assert not board.has_room()
    child = multiprocessing.get_context("fork").Process(target=_publish, args=(board,))
    child.start()
    child.join()
    assert board.has_room()
    board.publish(7, -1)
    assert not board.has_room()
    board.announce_stop()
    assert board.stopping
