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
from pathlib import Path

from lite import LLM
from tests.e2e import demo_prompts
from tools.demo_model.data import normal
from tools.demo_model.model_config import CONFIG
from tools.demo_model.world import held_out

Scores = dict[str, tuple[int, int]]
NOT_MET = "all whose last question is not in the training data word for word"
TEMPLATE = Path(__file__).parent / "card.md"


class Evaluation:
    """Greedy answers of one model."""

    def __init__(self, llm: LLM, met_in_training: set[str]) -> None:
        self._answers = demo_prompts.answers_of(llm)
        self._met = met_in_training
        self.failures: list[str] = []

    def prompts(self) -> Scores:
        """Answer the held-out prompts: topic -> (right, all), and those not met word for word."""
        right, count = Counter[str](), Counter[str]()
        for result in demo_prompts.run(demo_prompts.load(), self._answers):
            prompt = result.prompt
            topics = ["all", prompt.topic]
            if normal(prompt.question) not in self._met:
                topics.append(NOT_MET)
            for topic in topics:
                count[topic] += 1
                right[topic] += result.failure is None
            if result.failure is not None:
                last = result.answers[-1]
                self.failures.append(f"{prompt.topic}: {prompt.turns}: {last!r}: {result.failure}")
        order = ["all", NOT_MET, *(topic for topic in count if topic not in ("all", NOT_MET))]
        return {topic: (right[topic], count[topic]) for topic in order}

    def sums(self) -> Scores:
        """Ask every sum and difference of two-digit numbers that training left out."""
        numbers = range(100)
        pairs = [(a, b) for a in numbers for b in numbers if held_out(a, b)]
        asked = {
            "sums of two-digit numbers, held out": [(a, "+", b, a + b) for a, b in pairs],
            "their differences, none below zero": [(a, "-", b, a - b) for a, b in pairs if a >= b],
        }
        scores: Scores = {}
        for name, questions in asked.items():
            requests = [_question(f"What is {a} {sign} {b}?") for a, sign, b, _ in questions]
            texts = [text for text, _ in self._answers(requests)]
            right = [
                re.findall(r"-?\d+", text)[-1:] == [str(result)]
                for text, (_, _, _, result) in zip(texts, questions, strict=True)
            ]
            scores[name] = (sum(right), len(right))
        return scores


def _question(text: str) -> demo_prompts.Request:
    messages = [{"role": "user", "content": text}]
    return demo_prompts.Request(messages=messages, tools=[], enable_thinking=False)


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
