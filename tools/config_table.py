"""Write the tables of docs/operations.md from the settings: `python tools/config_table.py`."""

from pathlib import Path

from lite.settings import SETTINGS
from lite.settings.aliases import FILE_KEYS, FLAGS, VARIABLES, Alias, Unsupported

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "operations.md"


def settings_table() -> str:
    """Return a row for every setting, with the comment of config.yaml as its meaning."""
    rows = [
        "| Setting | Flag | Variable | Default | Value | Meaning |",
        "|---|---|---|---|---|---|",
    ]
    comments = _comments()
    for path, setting in SETTINGS.items():
        default, rule = setting.show(setting.default), setting.rule
        flag = setting.flag
        if isinstance(setting.default, bool):
            flag = f"{flag}`, `--no-{flag.removeprefix('--')}"
        rows.append(
            f"| `{path}` | `{flag}` | `{setting.variables[-1]}` | `{default}` | {rule} "
            f"| {comments[path]} |"
        )
    return "\n".join(rows)


def aliases_table() -> str:
    """Return a row for every name that other engines' users know."""
    rows = ["| Name | Here |", "|---|---|"]
    for names in (VARIABLES, FLAGS, FILE_KEYS):
        for name, target in names.items():
            rows.append(f"| `{name}` | {_target(target)} |")
    return "\n".join(rows)


def _target(target: Alias | Unsupported) -> str:
    if isinstance(target, Alias):
        return f"`{target.path}`"
    accepted = ", ".join(f"`{value}`" for value in target.accepted)
    return f"refused{f' unless {accepted}' if accepted else ''}: {target.remedy}"


def _comments() -> dict[str, str]:
    """Return the comment of each line of config.yaml; its lines stand in the tree's order."""
    lines = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()
    settings = (line for line in lines if line.startswith("  "))
    return {
        path: line.partition("  # ")[2].strip()
        for path, line in zip(SETTINGS, settings, strict=True)
    }


def with_tables(text: str) -> str:
    """Return the document with its tables made anew."""
    for name, table in (("settings", settings_table()), ("aliases", aliases_table())):
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        assert all((start, end)), f"{DOCUMENT} lost its place for the {name}"
        text = f"{before}{start}{table}\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
