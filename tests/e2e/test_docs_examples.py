"""The examples of README and docs/examples.md print what they show, on a real server."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gunicorn_server import GunicornServer, serve
from tools import docs_examples
from tools.docs_examples import DOCUMENTS, Example

EXAMPLES = [example for document in DOCUMENTS for example in docs_examples.examples(document)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GunicornServer]:
    with serve(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.place)
def test_an_example_prints_what_the_document_shows(
    example: Example, server: GunicornServer, tmp_path: Path
) -> None:
    if "curl" in example.code and shutil.which("curl") is None:
        pytest.skip("there is no curl")
    printed = docs_examples.run(example, server.url, tmp_path)
    assert example.agrees(printed), example.difference(printed)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_program_shows_its_output(document: Path) -> None:
    programs = [one for one in EXAMPLES if one.document == document and one.language == "python"]
    assert document.read_text(encoding="utf-8").count("```python") == len(programs) > 0


def test_readmes_first_commands_are_an_example() -> None:
    text = DOCUMENTS[0].read_text(encoding="utf-8")
    first_block = text.count("\n", 0, text.index("```sh")) + 1
    assert (EXAMPLES[0].document, EXAMPLES[0].line) == (DOCUMENTS[0], first_block)


PAGE = """\
```sh
not an example
```

```python
print(1)
```

```text
{"id": "chatcmpl-1", "created": 5} 50 %
```

```sh
.venv/bin/pip install -q .
echo $((1 + 1))
```

```text varies
a
```
"""


def test_outputs_are_found_compared_and_written(tmp_path: Path) -> None:
    one, two = docs_examples.examples(Path("page.md"), PAGE)
    assert [(e.place, e.language, e.varies) for e in (one, two)] == [
        ("page.md:5", "python", False),
        ("page.md:13", "sh", True),
    ]
    assert one.agrees('{"id": "chatcmpl-2", "created": 6}  51.5 %\n')
    for other in ("chatcmpl-1", "created"):
        assert not one.agrees(one.shown.replace(other, "x"))
    assert not one.agrees(one.shown.replace("50 %", "53 %"))
    assert not one.agrees(one.shown + "more\n")
    assert "-{" in one.difference("other\n")
    assert two.agrees("b\n")
    assert not two.agrees("b\nc\n")
    assert docs_examples.run(two, "http://127.0.0.1:1", tmp_path) == "2\n"
    written = docs_examples.with_outputs(PAGE, ["", "2\n"])
    assert [e.shown for e in docs_examples.examples(Path("page.md"), written)] == ["", "2\n"]
    assert docs_examples.with_outputs(written, [one.shown, two.shown]) == PAGE


def test_an_example_that_fails_says_why(tmp_path: Path) -> None:
    page = "```python\nraise ValueError('no')\n```\n\n```text\n```\n"
    (example,) = docs_examples.examples(Path("page.md"), page)
    with pytest.raises(RuntimeError, match=r"(?s)page\.md:1 ended with 1.*ValueError: no"):
        docs_examples.run(example, "http://127.0.0.1:1", tmp_path)
