"""What the distribution holds, and documents that are made from the code."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from setuptools import find_packages

from lite.cli import doctor
from lite.version import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("lite", "lite_kernels", "server")


def config_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("config_table", ROOT / "tools/config_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_operations_document_are_those_of_the_code() -> None:
    module = config_table()
    text = module.DOCUMENT.read_text(encoding="utf-8")
    assert module.with_tables(text) == text, "run python tools/config_table.py"
    assert module.settings_table() in text
    assert module.aliases_table() in text


def test_every_source_file_is_in_a_package_of_the_wheel() -> None:
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    found = set(find_packages(str(ROOT), include=include))
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py*"):
            if path.suffix in (".py", ".pyx", ".pyi"):
                assert ".".join(path.parent.relative_to(ROOT).parts) in found, path


def test_every_dependency_is_imported_and_known_to_doctor() -> None:
    modules = {"pyyaml": "yaml", "pyzmq": "zmq"}
    names = [re.match(r"[a-z0-9-]+", text) for text in PROJECT["project"]["dependencies"]]
    dependencies = [match.group() for match in names if match]
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    )
    for name in dependencies:
        module = modules.get(name, name.replace("-", "_"))
        assert re.search(rf"^\s*(import|from) {module}\b", sources, re.MULTILINE), name
    assert sorted(dependencies) == sorted(doctor.DEPENDENCIES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["*"]


def test_every_cython_module_has_its_declarations_and_types() -> None:
    sources = list((ROOT / "lite" / "scheduling").glob("*.pyx"))
    assert sources
    for path in sources:
        assert path.with_suffix(".pxd").exists(), path
        assert path.with_suffix(".pyi").exists(), path


def test_scheduling_imports_neither_other_parts_nor_a_clock() -> None:
    """Compiled modules are not seen by import-linter."""
    forbidden = re.compile(r"\s*(from|c?import) (lite(?!\.scheduling)|server|time|datetime)\b")
    for path in (ROOT / "lite" / "scheduling").glob("*.p[yx][xd]"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if forbidden.match(line)] == [], path


def test_numba_cuda_and_cupy_are_imported_under_cuda_only() -> None:
    imported = re.compile(
        r"^\s*(import|from) (cupy|numba\.cuda)\b|^\s*from numba import .*\bcuda\b"
    )
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if not path.is_relative_to(ROOT / "lite_kernels" / "cuda"):
                lines = path.read_text(encoding="utf-8").splitlines()
                assert [line for line in lines if imported.match(line)] == [], path


def test_the_installed_distribution_is_this_version_with_the_lite_command() -> None:
    try:
        distribution = importlib.metadata.distribution("lite-engine")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert distribution.version == __version__
    scripts = {entry.name: entry.value for entry in distribution.entry_points}
    assert scripts["lite"] == "lite.cli:main"


@pytest.mark.slow
def test_after_an_install_the_checkout_can_be_imported_too(tmp_path: Path) -> None:
    """`gunicorn server.app` in a checkout imports the checkout, not what was installed."""
    unbuilt = shutil.ignore_patterns(".*", "build", "*.so", "*.c", "*.egg-info", "__pycache__")
    checkout = shutil.copytree(ROOT, tmp_path / "checkout", ignore=unbuilt)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "."]
    subprocess.run(
        [*install, "--no-build-isolation", "--target", tmp_path / "site"], cwd=checkout, check=True
    )
    code = "import lite.scheduling as s; print(s.__file__)"
    code += "; from lite.models.location import demo_directory; print(demo_directory())"
    for directory in (checkout, tmp_path / "site"):
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=directory, check=True, capture_output=True, text=True
        )
        for path in found.stdout.splitlines():
            assert Path(path).is_relative_to(directory)
