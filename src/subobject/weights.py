"""The table of releases, and the way from a name, a folder or a hub id to verified files. Nothing pickled is ever read."""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from subobject.files import sha256

ASSETS = Path(__file__).parent / "assets"
CHECKSUMS = "SHA256.json"
# What models and their text tokenizers are made of. Word models of other kinds than SentencePiece's, also called .model, are
# pickles: hence the names.
_SENTENCEPIECE = ("*tokenizer.model", "*spiece.model", "*sentencepiece.model", "*sentencepiece.bpe.model", "*spm.model")
HUB_PATTERNS = ("*.json", "*.safetensors", "*.onnx", "*.jinja", "*.txt", *_SENTENCEPIECE, "README.md")
Kind = Literal["boundaries", "masks", "embedder", "tokenizer", "captioner"]


class WeightsError(ValueError):
    """Weights that cannot be found or trusted; the message says which and what to do."""


@dataclass(frozen=True)
class Release:
    """Weights that ship with the package.

    Attributes:
        name: ``architecture.tag``; also the name of the folder in the package's assets.
        kind: The stage they serve.
        files: Files in the folder, each verified by its SHA-256.
        licence: Of the weights.
        data: What they were trained on.
        recipe: The training recipe that made them.
        summary: What they are.
    """

    name: str
    kind: Kind
    files: tuple[str, ...]
    licence: str
    data: str
    recipe: str
    summary: str

    @property
    def architecture(self) -> str:
        """The name without its tag."""
        return self.name.partition(".")[0]

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return ASSETS / self.name

    @property
    def installed(self) -> bool:
        """Whether this version of the package comes with the files."""
        return self.name in _recorded()


# The first release of an architecture is its default tag.
RELEASES: dict[str, Release] = {
    release.name: release
    for release in (
        Release(
            name="boundarynet.bsds500",
            kind="boundaries",
            files=("config.json", "preprocessor_config.json", "model.safetensors", "model.onnx", "README.md"),
            licence="non-commercial research and education, as its data",
            data="BSDS500, the 300 training and validation photographs; its trunk started from ImageNet",
            recipe="recipes/boundaries_small.yaml",
            summary="convolutional boundary network on EfficientNet-Lite0",
        ),
        Release(
            name="boundarynet.clevr",
            kind="boundaries",
            files=("config.json", "preprocessor_config.json", "model.safetensors", "model.onnx", "README.md"),
            licence="non-commercial research and education, as the data of the network that it started from",
            data="drawn scenes as in CLEVR (`subobject data clevr-render`); started from boundarynet.bsds500",
            recipe="recipes/boundaries_clevr.yaml",
            summary="boundarynet.bsds500, fine-tuned on drawn scenes as in CLEVR",
        ),
        Release(
            name="seqae.bsds500-detail",
            kind="embedder",
            files=("config.json", "model.safetensors", "encoder.onnx", "decoder.onnx", "README.md"),
            licence="non-commercial research and education, as its data",
            data="BSDS500, the tokenizer's segments of the 300 training and validation photographs, and of 12 free ones",
            recipe="recipes/seqae_detail.yaml",
            summary="segment autoencoder for detail: up to 640 pixels a segment, 768 values",
        ),
        Release(
            name="seqae.bsds500",
            kind="embedder",
            files=("config.json", "model.safetensors", "encoder.onnx", "decoder.onnx", "README.md"),
            licence="non-commercial research and education, as its data",
            data="BSDS500, segments of three annotators of the 200 training photographs",
            recipe="recipes/seqae_small.yaml",
            summary="segment autoencoder for speed: up to 256 pixels a segment, 256 values",
        ),
        Release(
            name="patch.bsds500",
            kind="embedder",
            files=("config.json", "model.safetensors", "README.md"),
            licence="non-commercial research and education, as its data",
            data="BSDS500, patches of the 200 training photographs",
            recipe="recipes/patch_small.yaml",
            summary="linear autoencoder of 32 x 32 patches",
        ),
        Release(
            name="patch.bsds500-p16",
            kind="embedder",
            files=("config.json", "model.safetensors", "README.md"),
            licence="non-commercial research and education, as its data",
            data="BSDS500, patches of the 200 training photographs",
            recipe="recipes/patch_small.yaml",
            summary="linear autoencoder of 16 x 16 patches",
        ),
        Release(
            name="captioner.clevr",
            kind="captioner",
            files=(
                "config.json",
                "generation_config.json",
                "model.safetensors",
                "processor_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "image_tokenizer/config.json",
                "README.md",
            ),
            licence="non-commercial research and education, as the networks whose tokens it reads",
            data="drawn scenes as in CLEVR (`subobject data clevr-render`)",
            recipe="recipes/clevr_small.yaml",
            summary="small language model that describes drawn scenes as in CLEVR, and no other pictures",
        ),
    )
}


def resolve(name_or_path: str | Path, kind: Kind) -> Path:
    """Find the folder with the files of a model.

    Args:
        name_or_path: A release (``architecture.tag``, or the bare architecture for its default tag), a folder, or a hub id
            (``organisation/name``), in this order; write ``./name`` for a folder that is called like a release.
        kind: The stage that asks.

    Returns:
        A folder with ``config.json`` and safetensors or ONNX files (a tokenizer has them in the folders of its parts); files of
        a release have been verified.

    Raises:
        WeightsError: If nothing of that name exists, files are damaged, or the weights are pickled.
        ModuleNotFoundError: If a hub id is given and ``huggingface_hub`` is not installed.
    """
    release = _release(str(name_or_path), kind)
    if release is not None:
        _verify(release)
        return release.folder
    folder = Path(name_or_path)
    if not folder.is_dir():
        if not isinstance(name_or_path, str) or not re.fullmatch(r"\w[\w.-]*/[\w.-]+", name_or_path):
            known = ", ".join(sorted(one.name for one in RELEASES.values() if one.kind == kind and one.installed)) or "none"
            raise WeightsError(
                f"unknown weights '{name_or_path}': no such folder, not a hub id (organisation/name), "
                f"and not a release for {kind} (known: {known})"
            )
        folder = _download(name_or_path)
    _check_files(folder, str(name_or_path), kind)
    return folder


def load_torch(model_class: Any, folder: Path, *, unused: tuple[str, ...] = ()) -> Any:
    """Load a ``PreTrainedModel`` from ``config.json`` and safetensors in a folder, in evaluation mode, float32, on the CPU.

    Args:
        model_class: A ``PreTrainedModel``, or an auto class of transformers.
        folder: Where the files are.
        unused: Parts of the model, by a name in the dotted names of their parameters, that the files may lack.

    Raises:
        WeightsError: If the folder has no safetensors or they lack a parameter of the model.
    """
    import torch
    from transformers.utils import logging

    if not any(folder.glob("*.safetensors")):
        raise WeightsError(f"{folder} holds no safetensors: save the model with save_pretrained")
    shows_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, report = model_class.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    finally:
        if shows_bar:
            logging.enable_progress_bar()
    missing = sorted(key for key in report["missing_keys"] if not set(key.split(".")) & set(unused))
    if missing:
        raise WeightsError(f"{folder} lacks {len(missing)} parameters of {model_class.__name__}, such as {missing[0]}")
    return model.eval()


def read_config(folder: Path, model_type: str, what: str) -> dict[str, Any]:
    """Read ``config.json`` of a model of ours.

    Args:
        folder: Where the file is.
        model_type: What its ``model_type`` must be.
        what: What that stands for, for the message ("a SeqAE network").

    Raises:
        WeightsError: If the file is missing, is not JSON, or belongs to another kind of model.
    """
    config = read_json(folder / "config.json")
    if config.get("model_type") != model_type:
        raise WeightsError(f"{folder / 'config.json'} does not describe {what}: expected model_type {model_type!r}")
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file that comes with weights.

    Raises:
        WeightsError: If the file is missing or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path.parent} holds no {path.name}: give a folder written by save_pretrained") from None
    except ValueError as error:
        raise WeightsError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def copy_files(source: Path, folder: Path) -> None:
    """Copy configuration, weights, files of a text tokenizer and model card from one folder into another, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in HUB_PATTERNS:
        for file in source.glob(pattern):
            if not (folder / file.name).exists() or not file.samefile(folder / file.name):
                shutil.copyfile(file, folder / file.name)


def fingerprint(folder: Path) -> str:
    """Return one SHA-256 for all that decides what the network in a folder computes.

    It is that of the lines which ``sha256sum config.json *.onnx *.safetensors`` prints, sorted by name. Folders inside, such as
    that of an adapter, count as well, with their ``adapter_config.json`` and names like ``adapter/config.json``.
    """
    patterns = ("**/config.json", "**/*.onnx", "**/*.safetensors", "*/**/adapter_config.json")
    names = sorted(file.relative_to(folder).as_posix() for pattern in patterns for file in folder.glob(pattern))
    lines = "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def write_checksums() -> Path:
    """Record the SHA-256 of every release that is present in the assets; run it whenever weights are replaced.

    Returns:
        The file written: ``{release: {file: digest}}``.

    Raises:
        WeightsError: If a present release lacks one of its files.
    """
    digests: dict[str, dict[str, str]] = {}
    for release in RELEASES.values():
        if not release.folder.is_dir():
            continue
        missing = [name for name in release.files if not (release.folder / name).is_file()]
        if missing:
            raise WeightsError(f"{release.name} lacks {', '.join(missing)} in {release.folder}: add them or change its record")
        digests[release.name] = {name: sha256(release.folder / name) for name in release.files}
    path = ASSETS / CHECKSUMS
    path.write_text(json.dumps(digests, indent=2) + "\n")
    return path


def _release(name: str, kind: Kind) -> Release | None:
    matches = [one for one in RELEASES.values() if one.kind == kind and name in (one.name, one.architecture)]
    return matches[0] if matches else None


def _recorded() -> dict[str, dict[str, str]]:
    """Return the SHA-256 of each file of the releases that this version comes with."""
    path = ASSETS / CHECKSUMS
    return json.loads(path.read_text()) if path.is_file() else {}


def _verify(release: Release) -> None:
    if not release.installed:
        raise WeightsError(f"{release.name} is not part of this installation: give a folder or hub id instead")
    digests = _recorded()[release.name]
    for name in release.files:
        file = release.folder / name
        if not file.is_file() or sha256(file) != digests.get(name):
            raise WeightsError(f"{file} is missing or damaged (its SHA-256 differs from the release): reinstall subobject")


def _download(hub_id: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f'{hub_id} is on the hub and needs huggingface_hub: pip install "subobject[torch]"') from None
    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=list(HUB_PATTERNS)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{hub_id} is no folder here and could not be fetched from the hub: {reason}") from error


def _check_files(folder: Path, name: str, kind: Kind) -> None:
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{name} holds no config.json: give a folder written by save_pretrained")
    if kind != "tokenizer" and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.onnx")):
        raise WeightsError(
            f"{name} holds no .safetensors or .onnx file; pickled weights (.bin, .pt) are refused because reading them can run "
            "code: convert them with save_pretrained"
        )
