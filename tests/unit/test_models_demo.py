"""The bundled model: complete, packaged, small, and what a model is when none is named."""

import json
from pathlib import Path

import pytest
from setuptools import Distribution

from lite.config import Config, ModelConfig
from lite.errors import CheckpointError, InvalidRequestError, ModelError
from lite.formats.checkpoint import open_checkpoint
from lite.models import declare, location
from lite.models.location import demo_directory
from lite.models.weights import check_tensors
from lite.settings import load_config
from lite.text_model import TextModel, load_text_model
from tests.checkpoints import make_config
from tools.demo_model.export import export

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def text_model() -> TextModel:
    return load_text_model(Config().model)


def test_it_is_the_default_of_the_file_and_of_the_commands() -> None:
    assert load_config(ROOT / "config.yaml", {}).config.model.model == "demo"
    assert Config().model.model == "demo"


def test_its_weights_are_those_that_its_configuration_declares() -> None:
    with open_checkpoint(demo_directory()) as checkpoint:
        decoder = declare(checkpoint.config)
        check_tensors(decoder, checkpoint)
        assert checkpoint.config["dtype"] == "bfloat16"


def test_its_small_files_are_those_that_the_export_writes(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    export(tmp_path, tmp_path, tmp_path / "demo")
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        assert (tmp_path / "demo" / name).read_bytes() == (demo_directory() / name).read_bytes()


def test_its_tokenizer_has_every_text_and_fits_the_embedding(text_model: TextModel) -> None:
    tokenizer = text_model.tokenizer
    assert tokenizer.vocab_size <= text_model.vocab_size
    text = "Hello, how are you? 12 + 30 = 42\n\n\thèllo 🙂 日本 \x00\x7f"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_it_is_greedy_and_ends_its_turns(text_model: TextModel) -> None:
    assert text_model.name == "demo"
    assert text_model.default_sampling["temperature"] == 0.0
    (end,) = text_model.tokenizer.encode("<|im_end|>")
    assert end in text_model.eos_token_ids


def test_its_template_opens_the_assistants_turn(text_model: TextModel) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
    ]
    prompt = text_model.chat_template.render(messages, add_generation_prompt=True)
    system, question = prompt.index("Be brief."), prompt.index("Hello!")
    assert system < question < prompt.index("<|im_start|>assistant")
    assert prompt.endswith("assistant\n")


def test_its_template_writes_tools_calls_results_and_thoughts(text_model: TextModel) -> None:
    tool = {"type": "function", "function": {"name": "get_time", "parameters": {}}}
    call = {"function": {"name": "get_time", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "user", "content": "What time is it in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "I ask."},
        {"role": "tool", "content": "14:05"},
    ]
    prompt = text_model.chat_template.render(
        messages, tools=[tool], chat_template_kwargs={"enable_thinking": True}
    )
    assert json.dumps(tool) in prompt
    assert (
        "<|im_start|>assistant\n<think>\nI ask.\n</think>\n\n<tool_call>\n"
        '{"name": "get_time", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'
    ) in prompt
    assert "<tool_response>\n14:05\n</tool_response>" in prompt
    with pytest.raises(InvalidRequestError, match="the role robot is not known"):
        text_model.chat_template.render([{"role": "robot", "content": "Hello!"}])


def test_all_of_it_is_in_the_distribution_and_under_12_megabytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    # What MANIFEST.in adds would have to be written down first; the patterns name it all.
    distribution = Distribution({"include_package_data": False})
    distribution.parse_config_files()
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packaged = {
        ROOT / directory / name
        for package, directory, _, names in build.data_files
        for name in names
        if package == "lite.assets.demo"
    }
    assert packaged == {*demo_directory().iterdir()}
    assert ROOT / "lite" / "assets" / "demo" / "README.md" in packaged
    assert sum(file.stat().st_size for file in packaged) < 12_000_000


def test_a_broken_installation_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in demo_directory().glob("*.json"):
        (tmp_path / file.name).touch()
    monkeypatch.setattr(location, "_DEMO_DIRECTORY", tmp_path)
    with pytest.raises(CheckpointError, match=r"lacks model\.safetensors in .*; install lite-en"):
        location.locate_model("demo")


def test_random_weights_of_a_bare_configuration_borrow_its_tokenizer(
    tmp_path: Path, text_model: TextModel
) -> None:
    config = json.dumps(make_config(vocab_size=4096))
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    bare = load_text_model(ModelConfig(model=str(tmp_path), load_format="dummy"))
    assert bare.tokenizer.encode("Hello!") == text_model.tokenizer.encode("Hello!")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_text_model(ModelConfig(model=str(tmp_path)))
