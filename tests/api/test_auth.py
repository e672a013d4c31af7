"""Keys: who gets in where, and what is said of them."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lite.config import AuthConfig
from lite.errors import ConfigError
from server.app import routes
from server.auth import Access, KeyRing
from tests.api.conftest import Api, MakeApi

USER, OTHER, ADMIN = "user-key-1", "user-key-2", "admin-key"
AUTH = {"api_keys": [USER, OTHER], "admin_keys": [ADMIN]}

EXPECTED = {
    "/v1/chat/completions": Access.KEY,
    "/v1/completions": Access.KEY,
    "/v1/models": Access.KEY,
    "/v1/models/{model_id:path}": Access.KEY,
    "/tokenize": Access.KEY,
    "/detokenize": Access.KEY,
    "/health": Access.PUBLIC,
    "/ping": Access.PUBLIC,
    "/health/live": Access.PUBLIC,
    "/health/ready": Access.PUBLIC,
    "/health/details": Access.KEY,
    "/metrics": Access.KEY,
    "/version": Access.KEY,
    "/shutdown": Access.ADMIN,
}


@pytest.fixture
def closed(make_api: MakeApi) -> Api:
    return make_api(auth=AUTH)


def test_every_route_has_the_access_class_it_should(api: Api) -> None:
    table = {path: access for path, (_, access) in routes(api.services).items()}
    assert table == EXPECTED


def method_of(path: str) -> str:
    return (
        "POST"
        if path in ("/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize")
        else "GET"
    )


@pytest.mark.parametrize("path", EXPECTED)
def test_without_a_key_only_the_probes_answer(closed: Api, path: str) -> None:
    path_ = path.replace("{model_id:path}", "fake")
    result = closed.client.simulate_request(method_of(path), path_)
    if EXPECTED[path] is Access.PUBLIC:
        assert result.status_code == 200
    else:
        assert result.status_code == 401
        error = result.json["error"]
        assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
        assert result.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {USER}"},
        {"Authorization": f"bearer  {OTHER} "},
        {"x-api-key": USER},
        {"Authorization": f"Bearer {ADMIN}"},
    ],
)
def test_a_valid_key_opens_user_routes(closed: Api, headers: dict[str, str]) -> None:
    assert closed.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": USER},
        {"Authorization": f"Basic {USER}"},
        {"Authorization": "Bearer "},
        {"x-api-key": USER[:-1]},
        {"x-api-key": "schlüssel"},
        {"Authorization": "Bearer wrong", "x-api-key": USER},
    ],
)
def test_anything_else_is_401(closed: Api, headers: dict[str, str]) -> None:
    assert closed.get("/v1/models", headers=headers).status_code == 401


def test_admin_routes_need_the_administrators_key(
    closed: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = []
    monkeypatch.setattr("server.app.os.kill", lambda *args: stopped.append(args))
    result = closed.post("/shutdown", {}, headers={"x-api-key": USER})
    assert result.status_code == 403
    error = result.json["error"]
    assert (error["type"], error["code"]) == ("permission_error", "insufficient_permissions")
    assert not stopped
    assert closed.post("/shutdown", {}, headers={"x-api-key": ADMIN}).status_code == 202
    assert len(stopped) == 1


def test_without_an_admin_key_nobody_may_shut_down(make_api: MakeApi) -> None:
    for auth in ({}, {"api_keys": [USER]}):
        api = make_api(auth=auth)
        assert api.post("/shutdown", {}, headers={"x-api-key": USER}).status_code == 403


def test_a_server_without_keys_is_open(api: Api) -> None:
    assert api.get("/v1/models").status_code == 200
    assert api.get("/v1/models", headers={"x-api-key": "whatever"}).status_code == 200


def test_metrics_can_be_opened(make_api: MakeApi) -> None:
    assert make_api(auth={**AUTH, "open_metrics": True}).get("/metrics").status_code == 200


def test_an_unknown_route_tells_strangers_nothing_more(closed: Api) -> None:
    assert closed.get("/nothing").status_code == 404


def test_a_preflight_needs_no_key(make_api: MakeApi) -> None:
    api = make_api(auth=AUTH, server={"cors_allow_origins": ["https://page.example"]})
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    result = api.client.simulate_options("/v1/chat/completions", headers=headers)
    assert result.status_code == 200
    assert result.headers["access-control-allow-origin"] == "https://page.example"
    stranger = api.get("/health", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in stranger.headers


def test_keys_come_from_an_environment_variable_and_files_of_hashes(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    digest = hashlib.sha256(b"filed").hexdigest()
    file.write_text(f"# comment\n\nsha256:{digest} alice # trailing\n", encoding="utf-8")
    config = AuthConfig(api_keys_env="KEYS", api_keys_file=str(file))
    ring = KeyRing.load(config, {"KEYS": "one, two,"})
    assert len(ring) == 3


@pytest.mark.parametrize(
    "line", ["sha256:12", "plain-key", "md5:" + "0" * 64, "sha256:" + "0" * 64 + " a b"]
)
def test_a_malformed_line_of_a_key_file_stops_the_start(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2") as caught:
        KeyRing.load(AuthConfig(api_keys_file=str(file)))
    assert "plain-key" not in str(caught.value)


@pytest.mark.parametrize("keys", [{"api_keys": ["one", ""]}, {"admin_keys": [" "]}])
def test_an_empty_key_stops_the_start(keys: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        KeyRing.load(AuthConfig(**keys))


@pytest.mark.parametrize("environ", [{}, {"KEYS": ""}, {"KEYS": " , "}])
def test_a_named_variable_without_keys_does_not_open_the_server(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="variable KEYS"):
        KeyRing.load(AuthConfig(api_keys_env="KEYS"), environ)


def test_a_named_file_without_keys_does_not_open_the_server(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# none yet\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no key"):
        KeyRing.load(AuthConfig(api_keys_file=str(file)))


def test_a_missing_key_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="admin_keys_file"):
        KeyRing.load(AuthConfig(admin_keys_file=str(tmp_path / "none")))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("server")
    logger.addHandler(caplog.handler)
    before, logger.level = logger.level, logging.DEBUG
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.setLevel(before)


def test_logs_name_a_key_by_its_fingerprint_only(
    closed: Api, lines: pytest.LogCaptureFixture
) -> None:
    closed.get("/v1/models", headers={"x-api-key": USER})
    closed.get("/v1/models", headers={"x-api-key": "guessed-key"})
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in lines.records)
    assert hashlib.sha256(USER.encode()).hexdigest()[:12] in text
    assert USER not in text
    assert "guessed-key" not in text


def test_tenants_do_not_share_a_prefix_cache(closed: Api) -> None:
    def salt(key: str, **fields: str) -> bytes:
        body = {"prompt": "a", **fields}
        closed.post("/v1/completions", body, headers={"x-api-key": key})
        return closed.generator.prepared[-1].salt

    assert salt(USER) == salt(USER) != salt(OTHER)
    assert salt(USER, cache_salt="x") not in (salt(USER), salt(OTHER, cache_salt="x"))


def test_an_open_server_shares_its_cache_unless_a_salt_is_given(api: Api) -> None:
    api.complete("a")
    api.complete("a", cache_salt="x")
    api.complete("a", cache_salt="y")
    shared, one, other = (prepared.salt for prepared in api.generator.prepared)
    assert shared == b""
    assert len({shared, one, other}) == 3
