"""The demo checkpoint: complete, the same everywhere, safe to make concurrently."""

import multiprocessing
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from lite.errors import CheckpointError
from lite.formats.checkpoint import open_checkpoint
from lite.models import declare
from lite.models.demo import demo_checkpoint, write_demo
from lite.models.weights import check_tensors
from lite_kernels.cache_root import cache_root


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LITE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_it_is_made_once_in_the_cache_and_can_be_loaded(cache: Path) -> None:
    path = demo_checkpoint()
    assert path.parent == cache
    with open_checkpoint(path) as checkpoint:
        check_tensors(declare(checkpoint.config), checkpoint)
    stamp = (path / "config.json").stat().st_mtime_ns
    assert demo_checkpoint() == path
    assert (path / "config.json").stat().st_mtime_ns == stamp
    assert [entry.name for entry in cache.iterdir()] == [path.name]


def test_its_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_demo(tmp_path / name)
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")


def test_its_tokenizer_has_a_token_per_byte(tmp_path: Path) -> None:
    write_demo(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "héllo\n 🙂 日本 " + "".join(map(chr, range(1, 256)))
    encoding = tokenizer.encode(text, add_special_tokens=False)
    assert bytes(encoding.ids) == text.encode()
    assert tokenizer.decode(encoding.ids) == text
    assert tokenizer.encode("<|im_end|>").ids == [258]


def test_processes_that_start_together_get_the_same_complete_directory(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        paths = pool.map(_make, [str(cache)] * 6)
        pool.close()
        pool.join()
    assert len(set(paths)) == 1
    assert [entry.name for entry in cache.iterdir()] == [Path(paths[0]).name]


def _make(directory: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITE_CACHE_DIR", directory)
        path = demo_checkpoint()
        assert (path / "tokenizer_config.json").is_file()
        return str(path)


@pytest.mark.parametrize("has_home", [True, False])
def test_a_cache_that_cannot_be_written_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_home: bool
) -> None:
    (tmp_path / "file").touch()
    if has_home:
        monkeypatch.setenv("LITE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    else:
        monkeypatch.delenv("LITE_CACHE_DIR", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(CheckpointError, match=r"demo model .* set LITE_CACHE_DIR"):
        demo_checkpoint()


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_the_cache_directory_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LITE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "lite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "lite"
