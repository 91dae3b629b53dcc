"""The commands in the documentation have the flags that the programs have."""

import ast
import dataclasses
import re
import shlex
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from landcover_tf.__main__ import PROGRAMS
from landcover_tf.configs import cli
from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.errors import LegendError
from landcover_tf.legend import load_legend
from landcover_tf.models.pretrained import PRETRAINED

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "serving/server/README.md", *sorted(ROOT.glob("docs/*.md")))


def commands() -> list[tuple[str, list[str]]]:
    """Returns (module, arguments) of every command line in the pages."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if not line.strip().startswith(("landcover ", "python -m ")):
                continue
            words = shlex.split(line, comments=True)
            if words[0] == "landcover":
                found.append((PROGRAMS[words[1]][0], words[2:]))
            elif words[2].split(".")[0] in ("landcover_tf", "serving", "tfrecords_builder"):
                of_name = {m.removesuffix(".__main__"): m for m, _ in PROGRAMS.values()}
                found.append((of_name[words[2]], words[3:]))
    return found


def config_class(module: str, subcommand: str) -> type:
    """Returns the config dataclass that a program, or its subcommand, parses its flags into."""
    found = {
        value
        for name, value in vars(import_module(module)).items()
        if name.endswith("Config") and dataclasses.is_dataclass(value)
    }
    own = {value for value in found if value.__module__ == module}
    # The builder names a default of training, which is another program's.
    package = module.partition(".")[0]
    own = own or {value for value in found if value.__module__.partition(".")[0] == package}
    named = {value for value in own if value.__name__ == f"{subcommand.title()}Config"}
    (only,) = named or own
    return only


def test_there_are_commands():
    assert {module for module, _ in commands()} >= {
        "landcover_tf.export", "serving.predict", "tuning.__main__", "tuning.experiments"
    }  # fmt: skip


@pytest.mark.parametrize(("module", "arguments"), commands(), ids=lambda v: str(v)[:60])
def test_a_documented_command_is_understood(module, arguments):
    if "--config" in arguments:
        pytest.skip("the file that holds its flags is written by another command")
    subcommand, *flags = arguments
    config = config_class(module, subcommand)
    named = config.__name__.lower() == f"{subcommand}config"
    cli.parse(config, flags if named else arguments, prog=module)


def test_the_legend_in_the_page_on_legends_is_one(tmp_path):
    text = (ROOT / "docs/legends.md").read_text()
    start = text.index('    name = "crops"')
    path = tmp_path / "crops.toml"
    path.write_text(textwrap.dedent(text[start : text.index("\n\n", start)]))
    assert load_legend(path).names == ("maize", "wheat")
    assert load_crosswalk(path, "landcover9").codes == {1: 10, 2: 10}
    with pytest.raises(LegendError, match=r"add a \[crosswalks\.crops\] table"):
        load_crosswalk("worldcover", path)


def anchors(page: Path) -> set[str]:
    """Returns the names that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        if name.startswith("http"):
            continue
        path = (page.parent / name) if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_the_page_on_training_lists_the_published_weights():
    page = (ROOT / "docs/training.md").read_text()
    for weights in PRETRAINED:
        row = f"| `{weights.source}` | {weights.encoder} | [{weights.file_name}]({weights.url}) | "
        assert row + weights.license in page


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the texts of a module that users read: all strings but docstrings of other code."""
    tree = ast.parse(path.read_text())
    unread = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and isinstance(node.body[0], ast.Expr)
        and not getattr(node, "name", "").endswith("Config")
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in unread
        ):
            yield node.lineno, node.value


def test_messages_name_commands_and_not_modules():
    modules = "|".join(re.escape(m.removesuffix(".__main__")) for m, _ in PROGRAMS.values())
    inside = re.compile(rf"(?<!python -m )\b({modules})\b(?!\.[a-z_])")
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in ("landcover_tf", "tfrecords_builder", "serving", "tuning")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in messages(path)
        # A module's name alone is for the import.
        if (match := inside.search(text)) and match[1] not in ("tfrecords_builder", "tuning")
        and match[0] != text
    ]  # fmt: skip
    assert not found
