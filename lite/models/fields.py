"""Typed reading of a checkpoint's JSON: every complaint names the file and the field."""

import math
from collections.abc import Mapping
from typing import Any

from lite.errors import CheckpointError

REQUIRED: Any = object()  # the default of a field that must be present
MAX_SIZE = 2**24  # no dimension of a real model comes near it, and its products fit int64


class Fields:
    """A JSON object whose fields are read with their type, range and default.

    An absent field takes `default`. A null does so too where the default is None, because
    Hugging Face writes null for "derive it"; elsewhere it is an error.
    """

    def __init__(self, values: Mapping[str, Any], file: str, path: str = "") -> None:
        self.values = values
        self.file = file
        self._path = path

    def error(self, name: str, rule: str) -> CheckpointError:
        """Return the error for field `name`, whose value breaks `rule`."""
        field = f"{self.file}: field {self._path + name!r}"
        if name not in self.values:
            return CheckpointError(f"{field} is missing; it must be {rule}")
        value = repr(self.values[name])
        shown = value if len(value) <= 80 else value[:77] + "..."
        return CheckpointError(f"{field} is {shown}; it must be {rule}")

    def has(self, name: str) -> bool:
        """Tell whether a field is present and not null."""
        return self.values.get(name) is not None

    def integer(
        self,
        name: str,
        default: Any = REQUIRED,
        *,
        low: int = 1,
        high: int = MAX_SIZE,
        nullable: bool = False,
    ) -> Any:
        """Read an integer in [low, high], or take the default; `nullable`: null means None."""
        value = self.values.get(name, default)
        if (value is default and value is not REQUIRED) or (value is None and nullable):
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(name, f"an integer in [{low}, {high}]")
        return value

    def number(
        self,
        name: str,
        default: Any = REQUIRED,
        *,
        low: float = -math.inf,
        above: float = -math.inf,
        high: float = math.inf,
    ) -> Any:
        """Read a finite number in [low, high] and greater than `above`, or take the default."""
        value = self.values.get(name, default)
        if value is default and value is not REQUIRED:
            return default
        if not is_number(value) or not (low <= value <= high and above < value):
            limits = ((" >= ", low), (" > ", above), (" <= ", high))
            bounds = [f"{sign}{limit:g}" for sign, limit in limits if math.isfinite(limit)]
            raise self.error(name, "a number" + " and".join(bounds))
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Read true or false, or take the default."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise self.error(name, "true or false")
        return value

    def string(self, name: str, default: Any = REQUIRED) -> Any:
        """Read a string, or take the default."""
        value = self.values.get(name, default)
        if value is default and value is not REQUIRED:
            return default
        if not isinstance(value, str):
            raise self.error(name, "a string")
        return value

    def strings(self, name: str) -> list[str] | None:
        """Read a list of strings; None when absent or null."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(name, "a list of strings")
        return value

    def section(self, name: str) -> "Fields | None":
        """Read a nested object; None when absent, null or empty."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.error(name, "an object")
        return Fields(value, self.file, f"{self._path}{name}.") if value else None


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a finite number (true and false are not)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
