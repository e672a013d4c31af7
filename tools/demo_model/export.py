"""Put the trained weights and the tokenizer together as the checkpoint that lite ships.

`python -m tools.demo_model.export DATA RUN lite/assets/demo` copies RUN/model.safetensors and
DATA/tokenizer.json and writes the configuration files beside them.
"""

import argparse
import json
import shutil
from pathlib import Path

from tools.demo_model.model_config import CONFIG

END_OF_TEXT, END_OF_TURN = 0, 2


def export(data: Path, run: Path, target: Path) -> None:
    template = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "model.safetensors", target / "model.safetensors")
    shutil.copyfile(data / "tokenizer.json", target / "tokenizer.json")
    files = {
        "config.json": CONFIG | {"eos_token_id": END_OF_TURN, "pad_token_id": END_OF_TEXT},
        "generation_config.json": {
            "eos_token_id": [END_OF_TURN, END_OF_TEXT],
            "do_sample": False,
            "temperature": 0.0,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONFIG["max_position_embeddings"],
            "chat_template": template,
        },
    }
    for name, value in files.items():
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        (target / name).write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    export(options.data, options.run, options.target)


if __name__ == "__main__":
    main()
