"""Every example of the README and of docs/store.md runs."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "docs/store.md")


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path, photos, monkeypatch) -> Path:
    """A folder that holds the pictures which the documents name."""
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(photos / "coffee.png", tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_examples_run(folder, document):
    assert blocks(document, "python")
    for code in blocks(document, "python"):
        if "from datasets import" in code and find_spec("datasets") is None:  # Not in the development extra: see docs/log.md.
            continue
        exec(compile(code, document, "exec"), {})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_command_line_examples_run(folder, document):
    commands = [line for block in blocks(document, "bash") for line in block.splitlines() if line.startswith("subobject ")]
    assert len(commands) >= 4
    for line in commands:
        words = shlex.split(line, comments=True)[1:]
        if words[0] in ("train", "evaluate"):  # They need a data set: only their options are checked.
            words = [words[0], words[1], "--help"] if words[0] == "evaluate" else [words[0], "--help"]
        result = subprocess.run([sys.executable, "-m", "subobject", *words], capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{line}\n{result.stderr}"


def test_files_that_the_texts_name_exist():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
