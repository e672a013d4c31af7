"""Settings: precedence, text values, files, and what is refused."""

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lite.config import Config, KeyLimits
from lite.errors import ConfigError
from lite.settings import (
    SETTINGS,
    Loaded,
    check_public_bind,
    environ_with_flags,
    load_config,
    read_setting,
)
from lite.settings.aliases import FILE_KEYS, FLAGS, VARIABLES, Alias, Unsupported

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str | None = None, environ: dict[str, str] | None = None, **flags: Any) -> Loaded:
    """Load from a file's text, variables, and flags whose dots are spelled "__"."""
    if text is not None:
        Path("given.yaml").write_text(text, encoding="utf-8")
    given_flags = {name.replace("__", "."): value for name, value in flags.items()}
    return load_config("given.yaml" if text is not None else None, environ or {}, given_flags)


def refusal(text: str | None = None, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, environ, **flags)
    return str(caught.value)


def value_of(config: Config, path: str) -> object:
    section, field = path.split(".")
    return getattr(getattr(config, section), field)


# --- the tree and config.yaml ----------------------------------------------------------------


def test_without_file_variables_and_flags_everything_is_the_default() -> None:
    loaded = load()
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.path is None


def test_config_yaml_is_complete_and_equals_the_defaults() -> None:
    loaded = load_config(ROOT / "config.yaml", {})
    assert loaded.config == Config()
    missing = [path for path, origin in loaded.origins.items() if origin == "default"]
    assert missing == []


def test_config_yaml_has_a_comment_for_every_setting_in_the_order_of_the_tree() -> None:
    lines = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()
    settings = [line for line in lines if line.startswith("  ")]
    assert all("  # " in line for line in settings)
    assert [line.split(":")[0].strip() for line in settings] == [
        setting.field for setting in SETTINGS.values()
    ]


def test_every_name_of_a_setting_is_its_own() -> None:
    names = [name for setting in SETTINGS.values() for name in setting.variables]
    assert len(names) == len(set(names))
    flags = [setting.flag for setting in SETTINGS.values()]
    assert len(flags) == len(set(flags))
    assert not set(flags) & set(FLAGS)


def test_every_alias_leads_to_a_setting() -> None:
    targets = [*VARIABLES.values(), *FILE_KEYS.values(), *FLAGS.values()]
    assert {t.path for t in targets if isinstance(t, Alias)} <= set(SETTINGS)
    assert not set(FILE_KEYS) & set(SETTINGS)


# --- precedence ------------------------------------------------------------------------------


def test_flag_beats_environment_beats_file_beats_default() -> None:
    text, environ = "server: {port: 1}", {"LITE_PORT": "2"}
    assert load().config.server.port == 8000
    assert load(text).config.server.port == 1
    assert load(text, environ).config.server.port == 2
    assert load(text, environ, server__port="3").config.server.port == 3


def test_origins_name_the_line_the_variable_or_the_flag() -> None:
    text = "server:\n  port: 1\n  workers: 3\n"
    loaded = load(text, {"VLLM_KV_BLOCKS": "7"}, server__threads=9)
    assert loaded.origins["server.port"] == "given.yaml:2:3"
    assert loaded.origins["server.workers"] == "given.yaml:3:3"
    assert loaded.origins["engine.num_kv_blocks"] == "environment VLLM_KV_BLOCKS"
    assert loaded.origins["server.threads"] == "flag --threads"
    assert loaded.origins["server.host"] == "default"


def test_config_yaml_of_the_working_directory_is_read_without_being_named() -> None:
    Path("config.yaml").write_text("server: {port: 5}")
    assert load().config.server.port == 5


@pytest.mark.parametrize("name", ["LITE_CONFIG", "VLLM_CONFIG_PATH", "LLM_CONFIG"])
def test_a_variable_names_the_file(name: str) -> None:
    Path("config.yaml").write_text("server: {port: 5}")
    Path("other.toml").write_text("[server]\nport = 6\n")
    assert load(environ={name: "other.toml"}).config.server.port == 6


def test_variables_that_name_different_files_are_refused() -> None:
    message = refusal(environ={"LITE_CONFIG": "a.yaml", "LLM_CONFIG": "b.yaml"})
    assert "LITE_CONFIG=a.yaml" in message
    assert "LLM_CONFIG=b.yaml" in message


def test_a_named_file_that_is_missing_is_refused() -> None:
    assert refusal(environ={"LITE_CONFIG": "missing.yaml"}).startswith("missing.yaml: cannot be")


# --- environment -----------------------------------------------------------------------------


def _example(path: str) -> tuple[str, object]:
    """Text for a setting and what it means, different from the default."""
    special: dict[str, tuple[str, object]] = {
        "model.load_format": ("dummy", "dummy"),
        "model.dtype": ("float32", "float32"),
        "model.quantization": ("int4", "int4"),
        "model.generation_config": ("none", "none"),
        "engine.device": ("cpu", "cpu"),
        "engine.kv_cache_dtype": ("int8", "int8"),
        "engine.memory_fraction": ("0.5", 0.5),
        "rate_limit.overrides": (
            '{"bob": {"tokens_per_minute": 5}}',
            {"bob": KeyLimits(tokens_per_minute=5)},
        ),
        "log.level": ("debug", "debug"),
        "log.format": ("json", "json"),
        "metrics.compat": ("lite", ["lite"]),
    }
    default = SETTINGS[path].default
    if path in special:
        return special[path]
    if isinstance(default, bool):
        return ("no", False) if default else ("yes", True)
    if isinstance(default, list):
        return "a, b", ["a", "b"]
    is_text = "string" in SETTINGS[path].rule
    return ("some", "some") if is_text else ("12", 12)


@pytest.mark.parametrize("path", list(SETTINGS))
def test_every_setting_has_variables_and_a_flag(path: str) -> None:
    text, expected = _example(path)
    assert expected != SETTINGS[path].default
    for name in SETTINGS[path].variables:
        assert value_of(load(environ={name: text}).config, path) == expected
    assert value_of(load_config(environ={}, flags={path: text}).config, path) == expected


@pytest.mark.parametrize("name", [n for n, t in VARIABLES.items() if isinstance(t, Alias)])
def test_every_known_alias_sets_its_setting(name: str) -> None:
    target = VARIABLES[name]
    assert isinstance(target, Alias)
    text, expected = _example(target.path)
    expected = target.convert(text) if target.convert else expected
    loaded = load(environ={name: text})
    assert value_of(loaded.config, target.path) == expected
    assert loaded.origins[target.path] == f"environment {name}"


@pytest.mark.parametrize("name", [n for n, t in VARIABLES.items() if isinstance(t, Unsupported)])
def test_a_name_of_something_missing_takes_only_values_that_change_nothing(name: str) -> None:
    target = VARIABLES[name]
    assert isinstance(target, Unsupported)
    for value in target.accepted:
        assert load(environ={name: value}).config == Config()
    message = refusal(environ={name: "17"})
    assert name in message
    assert target.remedy in message


def test_values_outside_of_what_is_built_are_refused_through_aliases() -> None:
    assert "must be one of auto, cpu" in refusal(environ={"LLM_DEVICE": "metal"})
    assert "tensor parallelism" in refusal(environ={"VLLM_TENSOR_PARALLEL_SIZE": "2"})


@pytest.mark.parametrize(
    ("name", "format"),
    [("q8_0", "int8"), ("Q4_0", "int4"), ("q4k", "int4"), ("INT8", "int8"), ("none", None)],
)
def test_quantizations_known_elsewhere_are_the_nearest_ones_here(
    name: str, format: str | None
) -> None:
    assert load(f"model: {{quantization: {name}}}").config.model.quantization == format
    assert load(environ={"LITE_QUANTIZATION": name}).config.model.quantization == format
    assert load(environ={"LLM_QUANTIZATION": name}).config.model.quantization == format
    flags = {"model.quantization": name}
    assert load_config(environ={}, flags=flags).config.model.quantization == format


def test_an_unknown_quantization_is_refused_with_those_that_are_known() -> None:
    message = refusal(environ={"LITE_QUANTIZATION": "q5_1"})
    assert "'q5_1', but must be one of int4, int8, or none" in message


@pytest.mark.parametrize(
    ("value", "format"), [("true", "int8"), ("On", "int8"), ("0", "auto"), ("int8", "int8")]
)
def test_whether_keys_and_values_are_quantized_names_their_format(value: str, format: str) -> None:
    loaded = load(environ={"VLLM_KV_QUANTIZATION": value})
    assert loaded.config.engine.kv_cache_dtype == format
    assert load("engine: {kv_quantization: true}").config.engine.kv_cache_dtype == "int8"


@pytest.mark.parametrize("value", ["fp8", "fp8_e4m3"])
def test_fp8_keys_and_values_are_refused_with_int8_named(value: str) -> None:
    message = refusal(environ={"LITE_KV_CACHE_DTYPE": value})
    assert f"{value!r}, but must be one of auto, bfloat16, float32, int8" in message


def test_random_weights_cannot_be_cached() -> None:
    text = "model: {weights_cache: true, load_format: dummy}"
    assert "with model.load_format 'dummy' there are none" in refusal(text)


def test_an_unknown_variable_of_ours_stops_the_start_with_the_nearest_name() -> None:
    message = refusal(environ={"LITE_MAX_NUM_SEQ": "3"})
    assert message.startswith("environment LITE_MAX_NUM_SEQ: there is no such setting")
    assert "'LITE_MAX_NUM_SEQS'" in message


def test_unknown_variables_of_others_and_our_own_switches_are_left_alone() -> None:
    others = {"VLLM_SOMETHING": "1", "LLM_MODEL": "x", "LITE_CACHE_DIR": "/tmp", "HOME": "/"}
    switches = {"LITE_CPU_ISA": "avx2", "LITE_CYTHON_DEBUG": "1", "LITE_TEST_ANYTHING": "1"}
    assert load(environ=others | switches).config == Config()


def test_an_empty_variable_counts_as_unset() -> None:
    assert load("auth: {api_keys: [k]}", {"LITE_API_KEYS": ""}).config.auth.api_keys == ["k"]


def test_two_names_of_one_setting_may_agree_but_not_differ() -> None:
    environ = {"VLLM_PORT": "9000", "LITE_PORT": "9k"}
    assert load(environ=environ).config.server.port == 9000
    message = refusal(environ=environ | {"LLM_PORT": "9001"})
    assert "different values" in message
    assert "server.port" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 true YES On", True), ("0 false NO Off", False)],
)
def test_booleans_are_written_in_many_ways(text: str, expected: bool) -> None:
    for word in text.split():
        assert read_setting("engine.enable_prefix_caching", word) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("4k", 4000),
        ("4K", 4096),
        ("2m", 2_000_000),
        ("2M", 2 * 1024**2),
        ("4G", 4 * 1024**3),
        ("4GiB", 4 * 1024**3),
        ("4GB", 4 * 1000**3),
        ("1_000", 1000),
    ],
)
def test_integers_take_decimal_and_binary_suffixes(text: str, expected: int) -> None:
    assert read_setting("engine.kv_cache_memory", text) == expected
    assert load(f"engine: {{kv_cache_memory: {text}}}").config.engine.kv_cache_memory == expected


@pytest.mark.parametrize("text", ["4 GiB", "k", "1.5", "0x10", "1__0", "١", "-3", "4Gb", "nan"])
def test_text_that_is_no_positive_integer_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be an integer >= 1, or none"):
        read_setting("engine.kv_cache_memory", text)


def test_numbers_that_make_no_sense_are_refused_with_their_limits() -> None:
    assert "an integer >= 0" in refusal("model: {seed: -1}")
    assert "65536" in refusal("engine: {max_num_seqs: 3000000000}")


def test_none_clears_what_may_be_none() -> None:
    text = "engine: {queue_timeout_s: 3}"
    assert load(text, {"LITE_QUEUE_TIMEOUT_S": "none"}).config.engine.queue_timeout_s is None


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon"])
def test_numbers_are_finite_and_in_range(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a number >= 0"):
        read_setting("server.drain_s", text)


def test_other_spellings_of_dtypes_and_levels_are_understood() -> None:
    config = load(environ={"LITE_DTYPE": "bf16", "VLLM_LOG_LEVEL": "WARN"}).config
    assert (config.model.dtype, config.log.level) == ("bfloat16", "warning")


# --- files -----------------------------------------------------------------------------------


def test_a_yaml_error_names_file_line_and_column() -> None:
    assert refusal("server:\n  port: [1\n").startswith("given.yaml:3:1: not valid YAML: ")


def test_a_toml_error_names_the_line() -> None:
    Path("bad.toml").write_text("[server]\nport = \n")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML: .*line 2"):
        load_config("bad.toml", {})


def test_a_file_that_is_not_text_is_refused() -> None:
    Path("given.yaml").write_bytes(b"server: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config("given.yaml", {})


def test_yaml_tags_build_no_objects() -> None:
    assert "not valid YAML" in refusal("server: !!python/object/apply:os.getcwd []")
    assert "not valid YAML" in refusal("server: {host: !!python/name:os.getcwd }")


@pytest.mark.parametrize("text", ["server: &a {host: *a}", "server: " + "[" * 5000])
def test_endless_nesting_is_refused(text: str) -> None:
    assert "nested too deeply" in refusal(text)


@pytest.mark.parametrize(
    ("text", "path", "near"),
    [
        ("engine: {blok_size: 16}", "'engine.blok_size'", "'engine.block_size'"),
        ("enginee: {block_size: 16}", "'enginee'", "'engine'"),
        ("xyz: {block_size: 16}", "'xyz'", None),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    text: str, path: str, near: str | None
) -> None:
    message = refusal(text)
    assert f"unknown key {path}" in message
    assert near is None or f"did you mean {near}?" in message


def test_a_bad_value_is_named_with_place_rule_and_default() -> None:
    assert refusal("engine:\n  block_size: 0\n") == (
        "given.yaml:2:3: engine.block_size is 0, but must be an integer >= 1; "
        "leave it out for the default, 16."
    )


def test_a_key_given_twice_is_refused_with_both_places() -> None:
    message = refusal("server:\n  port: 1\n  port: 1\n")
    assert message.startswith("given.yaml:3:3: server.port is given twice, first at given.yaml:2:3")


@pytest.mark.parametrize("text", ["- 1", "server", "server: 3", "1: 2", "server: {host: ''}"])
def test_a_file_of_another_shape_is_refused(text: str) -> None:
    assert refusal(text).startswith("given.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "server:\n", "server: {}\n"])
def test_empty_files_and_sections_are_the_defaults(text: str) -> None:
    assert load(text).config == Config()


def test_files_of_other_servers_are_understood() -> None:
    text = """
    server: {host: 127.0.0.2, shutdown_drain_grace_secs: 5, log_level: warn}
    engine: {max_batch_size: 8, max_model_len: 512, tensor_parallel_size: 1}
    cors: {allow_origins: [https://example.org]}
    """
    config = load(text).config
    assert (config.server.drain_s, config.engine.max_num_seqs) == (5.0, 8)
    assert (config.model.max_model_len, config.log.level) == (512, "warning")
    assert config.server.cors_allow_origins == ["https://example.org"]
    message = refusal("engine: {tensor_parallel_size: 2}")
    assert message.startswith("given.yaml:1:10: engine.tensor_parallel_size is 2, but tensor")


def test_a_flat_toml_file_of_another_server_is_understood() -> None:
    Path("a.toml").write_text('port = 8080\n[model]\npath = "m"\n[performance]\nworkers = 4\n')
    config = load_config("a.toml", {}).config
    assert (config.server.port, config.model.model, config.server.workers) == (8080, "m", 4)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    Path("any.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(ConfigError):
        load_config("any.yaml", {})


# --- secrets, public addresses, and settings that belong together ------------------------------


def test_refusals_do_not_show_keys() -> None:
    texts = (
        refusal("auth: {api_keys: [{secret-one: 1}]}"),
        refusal(environ={"LITE_API_KEYS": "secret-one", "VLLM_API_KEY": "secret-two"}),
        refusal(environ={"LITE_ADMIN_KEYS": '["secret-one", 3]'}),
    )
    assert not any("secret" in text for text in texts)


PUBLIC = ("0.0.0.0", "::", "192.168.1.4", "example.org", "[::]")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_a_loopback_address_needs_no_keys(host: str) -> None:
    check_public_bind(load(server__host=host).config, {})


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_address_needs_keys_or_an_explicit_word(host: str) -> None:
    with pytest.raises(ConfigError, match="no API key is set"):
        check_public_bind(load(server__host=host).config, {})
    for setting in ("auth__api_keys", "auth__admin_keys"):
        check_public_bind(load(**{"server__host": host, setting: ["k"]}).config, {})
    insecure = load(server__host=host, server__insecure_allow_public_no_auth=True)
    check_public_bind(insecure.config, {})


def test_keys_in_a_variable_or_a_file_count_only_if_there_are_any() -> None:
    named = load(server__host="0.0.0.0", auth__api_keys_env="KEYS").config
    check_public_bind(named, {"KEYS": "a,b"})
    with pytest.raises(ConfigError, match="no API key is set"):
        check_public_bind(named, {"KEYS": " , "})
    for setting in ("auth__api_keys_file", "auth__admin_keys_file"):
        in_file = load(**{"server__host": "0.0.0.0", setting: "keys"}).config
        Path("keys").write_text("# none yet\n\n")
        with pytest.raises(ConfigError, match="no API key is set"):
            check_public_bind(in_file, {})
        Path("keys").write_text("sha256:00 bob\n")
        check_public_bind(in_file, {})
        Path("keys").unlink()
        with pytest.raises(ConfigError, match="cannot be read"):
            check_public_bind(in_file, {})


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert "both size the KV cache" in refusal("engine: {num_kv_blocks: 1, kv_cache_memory: 1}")
    assert "share a key" in refusal("auth: {api_keys: [a], admin_keys: [a]}")


# --- handing flags to another process ----------------------------------------------------------


def test_an_environment_made_from_flags_gives_the_same_configuration() -> None:
    for path in SETTINGS:
        if path == "engine.kv_cache_memory":  # contradicts num_kv_blocks
            continue
        flags = {path: _example(path)[0]}
        environ = environ_with_flags({}, flags)
        assert load(environ=environ).config == load_config(environ={}, flags=flags).config


def test_flags_replace_every_variable_of_their_setting() -> None:
    environ = {"LITE_PORT": "1", "VLLM_PORT": "1", "LLM_PORT": "1", "HOME": "/"}
    handed = environ_with_flags(environ, {"server.port": "2"})
    assert handed == {"HOME": "/", "LITE_SERVER_PORT": "2"}


@pytest.mark.parametrize("value", [["a,b", "c"], [], ['["']])
def test_lists_survive_the_environment(value: list[str]) -> None:
    environ = environ_with_flags({"LITE_API_KEYS": "z"}, {"auth.api_keys": value})
    assert load(environ=environ).config.auth.api_keys == value


def test_none_survives_the_environment() -> None:
    environ = environ_with_flags({}, {"engine.queue_timeout_s": None})
    assert load("engine: {queue_timeout_s: 5}", environ).config.engine.queue_timeout_s is None


def test_the_file_travels_as_an_absolute_path() -> None:
    Path("given.yaml").write_text("server: {port: 7}")
    handed = environ_with_flags({"VLLM_CONFIG_PATH": "x"}, {}, Path("given.yaml"))
    assert handed == {"LITE_CONFIG": str(Path("given.yaml").absolute())}


def test_shown_values_are_yaml_again() -> None:
    for setting in SETTINGS.values():
        shown = setting.show(setting.default)
        value = None if shown == "none" else yaml.safe_load(shown)
        assert value == msgspec.to_builtins(setting.default)
