"""Evaluate the demo model with lite itself, and write its model card and loss curve.

`python -m tools.demo_model.card DATA RUN lite/assets/demo` reads DATA/summary.json and
RUN/loss.csv, answers the held-out prompts of tests/e2e and every held-out sum, and writes README.md
and loss.png beside the model. Needs matplotlib.
"""

import argparse
import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lite import LLM, SamplingParams
from tests.e2e import demo_prompts
from tools.demo_model.data import normal
from tools.demo_model.model_config import CONFIG
from tools.demo_model.world import held_out

Scores = dict[str, tuple[int, int]]
TEMPLATE = Path(__file__).parent / "card.md"


class Evaluation:
    """Greedy answers of one model."""

    def __init__(self, llm: LLM, met_in_training: set[str]) -> None:
        self._llm = llm
        self._met = met_in_training
        self.failures: list[str] = []

    def prompts(self) -> Scores:
        """Answer the held-out prompts: topic -> (right, all), and those not met word for word."""
        right, count = Counter(), Counter()
        for result in demo_prompts.run(demo_prompts.load(), self.answer_many):
            last = [t for t in result.prompt.turns if isinstance(t, str)][-1]
            topics = [result.prompt.topic, "all"]
            topics += [] if normal(last) in self._met else ["all, not word for word in training"]
            for topic in topics:
                count[topic] += 1
                right[topic] += result.why is None
            if result.why is not None:
                self.failures.append(f"{result.prompt.topic}: {last!r}: {result.why}")
        return {topic: (right[topic], count[topic]) for topic in count}

    def sums(self) -> Scores:
        """Ask every sum and difference of two-digit numbers that training left out."""
        numbers = range(100)
        pairs = [(a, b) for a in numbers for b in numbers if held_out(a, b)]
        asked = {
            "sums of two-digit numbers, held out": [(a, "+", b, a + b) for a, b in pairs],
            "differences, held out": [(a, "-", b, a - b) for a, b in pairs if a >= b],
        }
        scores = {}
        for name, questions in asked.items():
            chats = [
                ([_user(f"What is {a} {sign} {b}?")], None, False) for a, sign, b, _ in questions
            ]
            texts = [text for text, _ in self.answer_many(chats)]
            right = [
                re.findall(r"-?\d+", text)[-1:] == [str(result)]
                for text, (_, _, _, result) in zip(texts, questions, strict=True)
            ]
            scores[name] = (sum(right), len(right))
        return scores

    def answer_many(self, chats: Sequence[tuple[Any, Any, bool]]) -> list[tuple[str, str | None]]:
        """Answer (messages, tools, enable_thinking) each: text and finish reason."""
        prompts = [
            self._llm.apply_chat_template(
                messages, tools=tools, chat_template_kwargs={"enable_thinking": thinking}
            )
            for messages, tools, thinking in chats
        ]
        greedy = SamplingParams(temperature=0.0, max_tokens=200)
        ids = [self._llm.encode_once(prompt) for prompt in prompts]
        outputs = self._llm.generate([{"prompt_token_ids": i} for i in ids], greedy, use_tqdm=False)
        return [(output.outputs[0].text, output.outputs[0].finish_reason) for output in outputs]


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def draw_loss(rows: list[dict[str, str]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), dpi=100, layout="constrained")
    tokens = [int(row["tokens"]) / 1e6 for row in rows]
    for name in ("training", "validation"):
        axes.plot(tokens, [float(row[name]) for row in rows], label=name, linewidth=1.2)
    axes.set(xlabel="million tokens", ylabel="loss of a target token (nats)", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path)


def table(scores: Scores) -> str:
    rows = [f"| {topic} | {right} of {count} |" for topic, (right, count) in scores.items()]
    return "\n".join(["| | right |", "| --- | --- |", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    summary = json.loads((options.data / "summary.json").read_text(encoding="utf-8"))
    met = {key.removeprefix("held-out: ") for key in summary if key.startswith("held-out: ")}
    rows = list(csv.DictReader((options.run / "loss.csv").open(encoding="utf-8")))
    with LLM(str(options.model)) as llm:
        evaluation = Evaluation(llm, met)
        prompts, sums = evaluation.prompts(), evaluation.sums()
    print("\n".join(evaluation.failures))
    print(table(prompts | sums))
    draw_loss(rows, options.model / "loss.png")
    last = rows[-1]
    card = TEMPLATE.read_text(encoding="utf-8").format(
        layers=CONFIG["num_hidden_layers"], hidden=CONFIG["hidden_size"],
        vocabulary=CONFIG["vocab_size"], context=CONFIG["max_position_embeddings"],
        conversations=f"{summary['conversations']:,}", data_tokens=f"{summary['tokens'] / 1e6:.0f}",
        minutes=round(int(last["seconds"]) / 60), steps=f"{int(last['step']):,}",
        tokens=f"{int(last['tokens']) / 1e6:.0f}", training=last["training"],
        validation=last["validation"], met=len(met), asked=summary["held-out questions"],
        prompts=table(prompts), sums=table(sums),
    )  # fmt: skip
    (options.model / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
