"""Adapters (peft): which layers they go into, and how they are saved apart from the language model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from subobject import weights
from subobject.language.configuration import SubobjectConfig
from subobject.language.modeling import SubobjectForCausalLM

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

ADAPTER_CONFIG = "adapter_config.json"
TRAINED_WHOLE = ["projector", "markers"]
"""Modules that are trained beside every adapter, and saved with it."""
Part = Literal["qkv", "ffn"]


@torch.no_grad()
def linear_targets(language_model: nn.Module, parts: tuple[Part, ...] = ("qkv", "ffn")) -> list[str]:
    """Find the linear layers of the blocks of a language model, as ``target_modules`` of a peft configuration.

    They are found by what they do, not by their names or the model's: attention is the innermost module that is called with an
    attention mask, and its linear layer that runs last is the output projection; ``qkv`` are the others. ``ffn`` are the linear
    layers of a block outside of attention (experts of a mixture, which transformers keeps in one tensor, are none). One token
    runs through the model to see the order.

    Args:
        language_model: A causal language model of transformers.
        parts: What is wanted.

    Returns:
        Names below a block, sorted, such as ``mlp.up_proj`` and ``self_attn.q_proj``.

    Raises:
        ValueError: If the model has no such layer, as in one without attention.
    """
    calls = _calls_of_linears(language_model)
    found: dict[Part, set[str]] = {"qkv": set(), "ffn": set()}
    for block in _blocks(language_model):
        inside: set[str] = set()
        for name, attention in _attentions(block):
            prefix = f"{name}." if name else ""
            linears = {prefix + inner: module for inner, module in attention.named_modules() if _is_linear(module)}
            order = sorted((one for one in linears if linears[one] in calls), key=lambda one: calls[linears[one]])
            found["qkv"].update(order[:-1])
            inside.update(linears)
        found["ffn"].update(name for name, module in block.named_modules() if _is_linear(module) and name not in inside)
    targets = sorted(set().union(*(found[part] for part in parts)))
    if not targets:
        wanted = " and ".join(parts)
        raise ValueError(f"{type(language_model).__name__} has no linear layers for {wanted}: name target_modules yourself")
    return targets


def add_adapter(model: SubobjectForCausalLM, options: "dict[str, Any] | PeftConfig") -> "PeftModel":
    """Freeze the language model, add an adapter to it, and leave projector and markers to be trained whole.

    Args:
        model: The model; changed in place.
        options: A peft configuration, or its values with ``peft_type`` (LoRA if missing). Where ``target_modules`` is missing,
            the query, key, value and feed-forward layers are taken; ``qkv`` or ``ffn`` takes one kind of them.

    Raises:
        ValueError: If an option is unknown, or the method changes the sequence itself (prompt and prefix tuning).
        ModuleNotFoundError: If peft is not installed.
    """
    try:
        import peft
    except ModuleNotFoundError:
        raise ModuleNotFoundError('adapters need peft: pip install "subobject[train]"') from None
    config: Any = options
    if isinstance(options, dict):
        try:
            config = peft.get_peft_config({"peft_type": "LORA", "task_type": "CAUSAL_LM", **options})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"these are no options of a peft adapter: {error}") from error
    if not hasattr(config, "target_modules") or config.is_prompt_learning:
        raise ValueError(
            f"peft type {config.peft_type} puts tokens of its own into the sequence: use LoRA or another one for layers"
        )
    if config.target_modules is None or config.target_modules in ("qkv", "ffn"):
        parts: tuple[Part, ...] = ("qkv", "ffn") if config.target_modules is None else (config.target_modules,)
        config.target_modules = linear_targets(model.language_model, parts)
        if getattr(config, "feedforward_modules", ()) is None:  # IA3 scales the input of these layers, the output of others.
            config.feedforward_modules = linear_targets(model.language_model, ("ffn",)) if "ffn" in parts else []
    config.modules_to_save = sorted({*TRAINED_WHOLE, *(config.modules_to_save or [])})
    return peft.get_peft_model(model, config)


def save_adapter(model: "PeftModel", folder: str | Path) -> None:
    """Save adapter, projector and markers, without the language model; ``load`` puts them onto it again.

    Raises:
        ValueError: If the language model came from no folder or hub id, so that it could not be found again.
    """
    base: Any = model.get_base_model()
    if base.config.language_model is None:
        raise ValueError("the language model was not loaded from anywhere: merge the adapter, and save the whole model")
    model.save_pretrained(str(folder), save_embedding_layers=False)
    base.config.save_pretrained(str(folder))
    base.generation_config.save_pretrained(str(folder))


def load(name: str | Path, *, merge: bool = True, kind: weights.Kind = "captioner") -> Any:
    """Load a saved ``SubobjectForCausalLM``, or an adapter that was saved apart together with its language model.

    Args:
        name: A release, a folder, or a hub id; see ``weights.resolve``.
        merge: Whether an adapter is merged into the language model; if not, the ``PeftModel`` is returned.
        kind: The kind of release.

    Raises:
        ValueError: If the weights or the language model cannot be found.
    """
    folder = weights.resolve(name, kind)
    if not (folder / ADAPTER_CONFIG).is_file():
        return weights.load_torch(SubobjectForCausalLM, folder)
    try:
        from peft import PeftModel
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f'{name} is an adapter and needs peft: pip install "subobject[train]"') from None
    from transformers import GenerationConfig

    from subobject.language.processing import SubobjectProcessor

    config: Any = SubobjectConfig.from_pretrained(folder)
    own = ("vector_size", "projector", "projector_hidden", "box_features", "frequencies", "image_attention")
    base = SubobjectForCausalLM.from_language_model(
        config.language_model,
        SubobjectProcessor.from_pretrained(folder).tokenizer,
        dtype=torch.float32,
        **{option: getattr(config, option) for option in own},
    )
    base.generation_config = GenerationConfig.from_pretrained(folder)
    model = PeftModel.from_pretrained(base, str(folder)).eval()
    return model.merge_and_unload() if merge else model


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _takes_mask(module: nn.Module) -> bool:
    names = module.forward.__code__.co_varnames if hasattr(module.forward, "__code__") else ()
    return "attention_mask" in names


def _attentions(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the innermost modules of a block that read an attention mask and hold linear layers."""
    takers = [
        (name, module)
        for name, module in block.named_modules()
        if name and _takes_mask(module) and any(_is_linear(one) for one in module.modules())
    ]
    return [(name, one) for name, one in takers if not any(other.startswith(f"{name}.") for other, _ in takers)]


def _blocks(language_model: nn.Module) -> list[nn.Module]:
    """Return the blocks: the members of the list of modules in which attention lies."""
    lists = [module for module in language_model.modules() if isinstance(module, nn.ModuleList)]
    return [block for one in lists if any(_attentions(block) for block in one) for block in one]


def _calls_of_linears(language_model: nn.Module) -> dict[nn.Module, int]:
    """Run one token and return when each linear layer was last called."""
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] = len(calls)

    hooks = [module.register_forward_hook(note) for module in language_model.modules() if _is_linear(module)]
    training = language_model.training
    try:
        device = next(language_model.parameters()).device
        language_model.eval()(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=device))
    finally:
        language_model.train(training)
        for hook in hooks:
            hook.remove()
    return calls
