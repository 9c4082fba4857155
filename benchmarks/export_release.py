"""Turn the final weights of a training run into a release in the package's assets: safetensors, ONNX, checksums.

    python benchmarks/export_release.py boundarynet.bsds500 runs/boundaries_small/final
    python benchmarks/export_release.py seqae.bsds500 runs/seqae_small/final
    python benchmarks/export_release.py patch.bsds500 runs/patch_small/final

Parameters are rounded to float16 first, and ONNX is exported from the rounded ones, so that both files hold the same network.
The linear autoencoder of patches needs no ONNX.
The model card (README.md in the release's folder) is written by hand, with figures from benchmarks/results.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from subobject.boundaries.export import export_onnx as export_boundary_network
from subobject.boundaries.network import BoundaryNet
from subobject.embeddings.export import export_onnx as export_seqae
from subobject.embeddings.linear import LinearAutoencoder
from subobject.embeddings.seqae import SeqAE
from subobject.weights import RELEASES, load_torch, write_checksums

MODELS = {
    "boundarynet": (BoundaryNet, export_boundary_network),
    "seqae": (SeqAE, export_seqae),
    "patch": (LinearAutoencoder, None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", choices=sorted(RELEASES))
    parser.add_argument("final", type=Path, help="folder with config.json and model.safetensors")
    arguments = parser.parse_args()
    release = RELEASES[arguments.release]
    model_class, export = MODELS[release.architecture]
    model = load_torch(model_class, arguments.final)
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    release.folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(release.folder)
    parameters = {name for name, _ in model.named_parameters()}
    tensors = {name: tensor.half() if name in parameters else tensor for name, tensor in model.state_dict().items()}
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, release.folder / "model.safetensors", {"format": "pt"}
    )
    if export is not None:
        with torch.inference_mode():
            export(model, release.folder)
    if "preprocessor_config.json" in release.files:
        values = {"image_mean": model.config.image_mean, "image_std": model.config.image_std, "rescale_factor": 1 / 255}
        (release.folder / "preprocessor_config.json").write_text(json.dumps(values, indent=2) + "\n")
    if (release.folder / "README.md").exists():
        write_checksums()
    for path in sorted(release.folder.iterdir()):
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.name}")


if __name__ == "__main__":
    main()
