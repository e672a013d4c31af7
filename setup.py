"""The Cython extensions and their directives; everything else is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# LITE_CYTHON_DEBUG=1 builds with every check on; the unit and fuzz suites run that way too.
DEBUG = os.environ.get("LITE_CYTHON_DEBUG", "0") == "1"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "nonecheck": DEBUG,
    "overflowcheck": DEBUG,
    "cdivision": not DEBUG,
    "embedsignature": True,
}

EXTENSIONS = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        extra_compile_args=["-O1", "-g"] if DEBUG else ["-O3", "-g0"],
    )
    for path in sorted(Path("lite/scheduling").glob("*.pyx"))
]


class BuildBoth(build_ext):
    """Build where the sources stand, too: there `gunicorn server.app` imports the checkout."""

    def run(self) -> None:
        super().run()
        self.copy_extensions_to_source()


setup(
    ext_modules=cythonize(
        EXTENSIONS, compiler_directives=DIRECTIVES, build_dir="build/cython", force=True
    ),
    # Both kinds of build leave the same file names, so age cannot tell which one is there.
    options={"build_ext": {"force": True, "parallel": os.cpu_count()}},
    cmdclass={"build_ext": BuildBoth},
)
