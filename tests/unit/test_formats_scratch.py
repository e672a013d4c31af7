"""Directories for what is being written."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from lite.formats.scratch import scratch_directory

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys, time; from pathlib import Path; from lite.formats.scratch import *\n"
    "with scratch_directory(Path(sys.argv[1]), '.new.') as path:\n"
    "    (path / 'part').write_text('half'); print(path, flush=True); time.sleep(60)\n"
)


def hold(parent: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, parent], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_scratch_directory_is_removed_with_its_content(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), scratch_directory(tmp_path) as path:
        (path / "file").touch()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_what_was_renamed_stays(tmp_path: Path) -> None:
    with scratch_directory(tmp_path) as path:
        (path / "file").touch()
        path.rename(tmp_path / "complete")
    assert [found.name for found in tmp_path.rglob("*")] == ["complete", "file"]


def test_what_a_killed_process_left_is_removed_but_nothing_of_a_running_one(
    tmp_path: Path,
) -> None:
    others = [tmp_path / name for name in (".new.backup", ".old.unfinished-12345678")]
    for other in others:
        other.mkdir()
    (tmp_path / ".new.unfinished-file").touch()
    (tmp_path / ".new.unfinished-link").symlink_to(others[0])
    with hold(tmp_path) as process:
        assert process.stdout is not None
        running = Path(process.stdout.readline().strip())
        try:
            with scratch_directory(tmp_path, ".new.") as own:
                assert own != running
                assert (running / "part").read_text() == "half"
        finally:
            process.kill()
    assert running.exists()
    with scratch_directory(tmp_path, ".new."):
        assert not running.exists()
    assert all(other.is_dir() for other in others)
    assert len(list(tmp_path.iterdir())) == 4


def test_file_systems_without_locks_are_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(38, "Function not implemented")

    (tmp_path / "unfinished-by-another").mkdir()
    monkeypatch.setattr("fcntl.flock", flock)
    with scratch_directory(tmp_path) as path:
        assert path.is_dir()
    assert [left.name for left in tmp_path.iterdir()] == ["unfinished-by-another"]
