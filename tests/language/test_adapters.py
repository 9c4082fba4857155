"""Adapters: where they go, what they train, and that base + adapter is the merged model."""

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from transformers import AutoModelForCausalLM  # noqa: E402

from subobject.language.adapters import add_adapter, linear_targets, load, save_adapter  # noqa: E402
from subobject.language.modeling import SubobjectForCausalLM  # noqa: E402
from tests.language.conftest import FAMILIES, SHAPE, VECTOR, family_config, make_tokens  # noqa: E402

GATED = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"]
SEPARATE = ["self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj"]
TARGETS = {
    "phi": ["mlp.fc1", "mlp.fc2", *SEPARATE],
    "llama": [*GATED, *SEPARATE],
    "qwen2": [*GATED, *SEPARATE],
    "qwen3": [*GATED, *SEPARATE],
    "smollm3": [*GATED, *SEPARATE],
    "mistral": [*GATED, *SEPARATE],
    "gemma2": [*GATED, *SEPARATE],
    "gpt_neox": ["attention.query_key_value", "mlp.dense_4h_to_h", "mlp.dense_h_to_4h"],
    "phi3": ["mlp.down_proj", "mlp.gate_up_proj", "self_attn.qkv_proj"],
    "gpt2": ["attn.c_attn", "mlp.c_fc", "mlp.c_proj"],
    "opt": ["fc1", "fc2", *SEPARATE],
    "falcon": ["mlp.dense_4h_to_h", "mlp.dense_h_to_4h", "self_attention.query_key_value"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_query_key_value_and_feed_forward_layers_are_found(family):
    model = AutoModelForCausalLM.from_config(family_config(family)).train()
    assert linear_targets(model) == TARGETS[family]
    assert model.training


def test_one_kind_of_layers_is_found():
    model = AutoModelForCausalLM.from_config(family_config("phi"))
    assert linear_targets(model, ("qkv",)) == SEPARATE
    assert linear_targets(model, ("ffn",)) == ["mlp.fc1", "mlp.fc2"]


@pytest.fixture
def base(tmp_path, processor):
    """A function that makes a model around a language model saved in a folder."""

    def make(family: str = "phi"):
        torch.manual_seed(0)
        folder = tmp_path / family
        if not folder.is_dir():
            AutoModelForCausalLM.from_config(family_config(family)).save_pretrained(folder)
        return SubobjectForCausalLM.from_language_model(str(folder), processor.tokenizer, vector_size=VECTOR)

    return make


def trained(model, processor, steps=3):
    batch = processor(["<image>"] * 2, tokens=[make_tokens(4), make_tokens(2, 1)], targets=[" a red cube", " small"])
    optimiser = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=3e-2)
    model.train()
    for _ in range(steps):
        model(**batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval(), batch


@pytest.mark.parametrize("family", ["phi", "llama", "gpt_neox", "gpt2", "qwen3"])
def test_base_and_adapter_equal_the_merged_model(family, base, processor, tmp_path):
    frozen = {name: value.clone() for name, value in base(family).language_model.state_dict().items()}
    model, batch = trained(add_adapter(base(family), {"r": 4, "lora_alpha": 16}), processor)
    expected = model(**batch).logits
    save_adapter(model, tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    stored = {file.name for file in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json"} <= stored
    assert "model.safetensors" not in stored

    apart = load(tmp_path / "adapter", merge=False)
    merged = load(tmp_path / "adapter")
    assert torch.allclose(apart(**batch).logits, expected, atol=1e-5)
    assert torch.allclose(merged(**batch).logits, expected, atol=1e-5)
    assert isinstance(merged, SubobjectForCausalLM)
    assert not torch.allclose(base(family).eval()(**batch).logits, expected, atol=1e-2)
    for name, value in base(family).language_model.state_dict().items():
        assert torch.equal(value, frozen[name])

    merged.save_pretrained(tmp_path / "merged")
    whole = load(tmp_path / "merged")
    assert torch.allclose(whole(**batch).logits, expected, atol=1e-5)
    prompt = processor("<image>", tokens=make_tokens(4))
    answers = [one.generate(**prompt, max_new_tokens=4, do_sample=False).tolist() for one in (apart, merged, whole)]
    assert answers[0] == answers[1] == answers[2]


def test_adapter_projector_and_markers_are_trained_and_nothing_else(base):
    model = add_adapter(base(), {"r": 2})
    names = [name for name, one in model.named_parameters() if one.requires_grad]
    assert all("lora_" in name or ".projector." in name or ".markers." in name for name in names)
    for part in ("lora_A", "projector.modules_to_save", "markers.modules_to_save", "q_proj", "fc2"):
        assert any(part in name for name in names), part
    assert not any("dense" in name for name in names)


@pytest.mark.parametrize(
    "options",
    [{"peft_type": "IA3"}, {"peft_type": "LOHA", "r": 2, "task_type": None}, {"use_dora": True, "r": 2, "target_modules": "qkv"}],
)
def test_other_adapters_train_too(options, base, processor):
    model, batch = trained(add_adapter(base("llama"), options), processor, steps=1)
    assert torch.isfinite(model(**batch).loss)


def test_a_peft_configuration_is_taken_as_it_is(base):
    model = add_adapter(base(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name, _ in model.named_parameters() if "lora_" in name}
    assert adapted == {"q_proj"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 4}, "no options of a peft adapter"),
        ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}, "tokens of its own"),
        ({"peft_type": "LORRA"}, "no options of a peft adapter"),
    ],
)
def test_unknown_options_are_named(options, message, base):
    with pytest.raises(ValueError, match=message):
        add_adapter(base(), options)


def test_an_adapter_without_a_language_model_to_find_again_is_not_saved(make_model, tmp_path):
    with pytest.raises(ValueError, match="save the whole model"):
        save_adapter(add_adapter(make_model(), {"r": 2}), tmp_path)


def test_a_model_without_attention_says_so():
    values = SHAPE | {"model_type": "mamba", "state_size": 4}
    for name in ("intermediate_size", "num_attention_heads", "num_key_value_heads", "max_position_embeddings"):
        values.pop(name)
    from transformers import AutoConfig

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**values))
    with pytest.raises(ValueError, match="no linear layers for qkv and ffn"):
        linear_targets(model)
