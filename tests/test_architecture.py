"""The import rule: folders stand in the order in which data flows through them, and imports point backwards only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import subobject

ROOT = Path(subobject.__file__).parent
STAGES = ("boundaries", "segments", "embeddings", "tokens", "language")
SUPPORT = ("data", "metrics")  # import the base, each other, and pure functions of the stages
USERS = ("training", "scale", "viewer")  # import everything above
HEAVY = ("torch", "transformers", "numba", "cv2")
# Modules of the stages that hold a network or need torch; they are no pure functions.
IMPURE = ("torch", "transformers")
MODULES = sorted(ROOT.rglob("*.py"))


def part_of(module: str) -> str:
    """Return the folder of a module of the package, or ``base`` for a file at the top."""
    parts = module.split(".")
    if len(parts) > 1 and (ROOT / parts[1]).is_dir():
        return parts[1]
    return "base"


def imports(path: Path, *, nested: bool = True) -> set[str]:
    """Return the modules a file imports, anywhere or (not ``nested``) when it is imported itself."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if not nested and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if is_module(name) else str(node.module))
        waiting.extend(ast.iter_child_nodes(node))
    return found


def is_module(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def allowed(part: str) -> set[str]:
    """Return the parts that a part may import."""
    if part == "base":
        return {"base"}
    if part in STAGES:
        return {"base", *STAGES[: STAGES.index(part) + 1]}
    if part in SUPPORT:
        return {"base", *STAGES, *SUPPORT}
    if part in USERS:
        return {"base", *STAGES, *SUPPORT, *USERS}
    assert part == "cli", f"{part}: a folder without a place in the import rule; give it one"
    return {"base", *STAGES, *SUPPORT, *USERS, "cli"}


def own_imports(path: Path, *, nested: bool = True) -> set[str]:
    return {name for name in imports(path, nested=nested) if name.split(".")[0] == "subobject"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_backwards(path):
    name = module_name(path)
    if name == "subobject":
        assert not own_imports(path), "subobject/__init__.py loads its public names lazily"
        return
    part = "cli" if name == "subobject.__main__" else part_of(name)
    forbidden = {other for other in own_imports(path) if part_of(other) not in allowed(part)}
    assert not forbidden, f"{name} ({part}) must not import {', '.join(sorted(forbidden))}"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(module_name(path)) in SUPPORT],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_data_and_metrics_import_only_pure_functions_of_the_stages(path):
    for other in own_imports(path):
        if part_of(other) in STAGES:
            file = ROOT.parent.joinpath(*other.split("."))
            file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
            loaded = {name.split(".")[0] for name in imports(file, nested=False)}
            assert not loaded & set(IMPURE), f"{module_name(path)} imports {other}, which holds a network"


def test_opencv_is_for_superpixels_and_training_only():
    """The base install has none."""
    users = {path.relative_to(ROOT).as_posix() for path in MODULES if any(name.split(".")[0] == "cv2" for name in imports(path))}
    assert {user for user in users if not user.startswith(("data/", "training/"))} == {"segments/classical.py"}


def test_the_base_needs_no_torch():
    for path in ROOT.glob("*.py"):
        loaded = {name.split(".")[0] for name in imports(path, nested=False)}
        assert not loaded & {"torch", "transformers", "huggingface_hub", "openvino", "onnxruntime"}, path.name


@pytest.mark.parametrize("name", ["subobject", *(module_name(path) for path in MODULES if path.parent.name == "cli")])
def test_importing_the_front_is_light(name):
    code = f"import sys, {name}; print(*sorted({{m.split('.')[0] for m in sys.modules}} & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", f"import {name} loads {done.stdout.strip()}"


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("subobject.boundaries.directsam", {"torch", "transformers", "numba", "cv2"}),
        ("subobject.boundaries.gradient", {"torch", "transformers", "cv2"}),
        ("subobject.images", {"torch", "transformers", "numba", "cv2"}),
    ],
)
def test_boundaries_load_no_more_than_they_need(name, heavy):
    code = f"import sys, {name}; print(*sorted({{m.split('.')[0] for m in sys.modules}} & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
