"""Who may call: API keys, the access class of each route, and what a key is called in logs."""

import enum
import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import falcon

from lite.config import AuthConfig
from lite.errors import ConfigError
from server.errors import ApiError

_LINE = re.compile(r"sha256:([0-9a-fA-F]{64})(?:\s+(\S+))?")
_FINGERPRINT_LENGTH = 12


class Access(enum.Enum):
    """What a route asks of its caller."""

    PUBLIC = "public"  # probes
    KEY = "key"  # any key, where keys are configured
    ADMIN = "admin"  # an administrator's key


@dataclass(frozen=True, slots=True)
class Key:
    """A configured key, known by its SHA-256 only."""

    digest: bytes
    name: str | None = None
    admin: bool = False

    @property
    def fingerprint(self) -> str:
        """The first hex digits of the hash: what logs, overrides and quotas call the key."""
        return self.digest.hex()[:_FINGERPRINT_LENGTH]

    def salt(self, cache_salt: str | None) -> bytes:
        """Return the prefix cache's tenant salt: keys never share blocks with each other."""
        return hmac.digest(self.digest, (cache_salt or "").encode(), "sha256")


@dataclass(frozen=True, slots=True)
class Anonymous:
    """The caller of a server without keys."""

    name: str | None = None
    admin: bool = False
    fingerprint: str = "anonymous"

    def salt(self, cache_salt: str | None) -> bytes:
        """Return the salt the client chose, hashed; b"" (shared) without one."""
        return hashlib.sha256(cache_salt.encode()).digest() if cache_salt else b""


Caller = Key | Anonymous
ANONYMOUS = Anonymous()


class KeyRing:
    """All configured keys; `identify` compares in constant time."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)
        self._has_admin = any(key.admin for key in self._keys)

    @classmethod
    def load(cls, config: AuthConfig, environ: Mapping[str, str] = os.environ) -> "KeyRing":
        """Read the keys from the configuration, the environment and the files it names.

        Raises:
            ConfigError: a key is empty, a variable or a file holds none, cannot be read or is
                malformed: who names a source of keys must not get an open server.
        """
        return cls(
            [
                *_hashed(config.api_keys, "auth.api_keys", admin=False),
                *_read_variable(config.api_keys_env, environ),
                *_read_hashes(config.api_keys_file, "auth.api_keys_file", admin=False),
                *_hashed(config.admin_keys, "auth.admin_keys", admin=True),
                *_read_hashes(config.admin_keys_file, "auth.admin_keys_file", admin=True),
            ]
        )

    def __len__(self) -> int:
        return len(self._keys)

    def authorize(self, req: falcon.Request, access: Access) -> Caller:
        """Return who calls.

        Raises:
            ApiError: 401 without a valid key, 403 where an administrator's is needed.
        """
        if access is Access.PUBLIC:
            return ANONYMOUS
        if access is Access.ADMIN and not self._has_admin:
            raise ApiError(
                403,
                "This route needs an administrator's key and none is configured; set "
                "auth.admin_keys or auth.admin_keys_file.",
                code="insufficient_permissions",
            )
        if not self._keys:
            return ANONYMOUS
        key = self._identify(_presented(req))
        if access is Access.ADMIN and not key.admin:
            raise ApiError(
                403,
                "This route needs an administrator's key.",
                code="insufficient_permissions",
            )
        return key

    def _identify(self, presented: str | None) -> Key:
        if presented is None:
            raise _unauthorized(
                "No API key was given; send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."
            )
        digest = hashlib.sha256(presented.encode("latin-1", "replace")).digest()
        found: Key | None = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise _unauthorized("The API key is not valid.")
        return found


def _presented(req: falcon.Request) -> str | None:
    authorization = req.get_header("Authorization")
    if authorization:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
    return req.get_header("x-api-key") or None


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _hashed(keys: Iterable[str], setting: str, *, admin: bool) -> list[Key]:
    hashed = []
    for i, key in enumerate(keys):
        if not key.strip():
            raise ConfigError(f"{setting}[{i}] is empty; remove it or write a key.")
        hashed.append(Key(hashlib.sha256(key.encode()).digest(), admin=admin))
    return hashed


def _read_variable(name: str | None, environ: Mapping[str, str]) -> list[Key]:
    if name is None:
        return []
    keys = [key for part in environ.get(name, "").split(",") if (key := part.strip())]
    if not keys:
        raise ConfigError(
            f"auth.api_keys_env names the variable {name}, which holds no key; set it to keys "
            "separated by commas."
        )
    return _hashed(keys, "auth.api_keys_env", admin=False)


def _read_hashes(path: str | None, setting: str, *, admin: bool) -> list[Key]:
    if path is None:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {path} cannot be read ({error}).") from None
    keys = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{setting}: {path}, line {number} is not 'sha256:<64 hex digits> [name]'; "
                "make the digits with: printf %s KEY | sha256sum"
            )
        keys.append(Key(bytes.fromhex(match[1]), name=match[2], admin=admin))
    if not keys:
        raise ConfigError(f"{setting}: {path} holds no key; add a line, or unset {setting}.")
    return keys
