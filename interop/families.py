"""Tiny random models of every family that package family builds, with what transformers computes for them.

    python interop/families.py testdata/families           # write the models and their goldens anew
    python interop/families.py --check testdata/families   # recompute the outputs of the models that are there

For each model: config.json and model.safetensors as transformers saves them, and golden.npz with input_ids, the masks and types where the model takes
them, and the outputs in float32 with eager attention. Needs numpy, torch and transformers; without them it says so and ends. Other versions than those that
testdata/families/README.md names may give other weights, and --check tells whether they give other outputs: more than 1e-5 is an error.
"""

import pathlib
import shutil
import sys

try:
    import numpy as np
    import torch
    import transformers as tf
except ImportError as missing:
    print("SKIPPED: families.py needs numpy, torch and transformers:", missing)
    sys.exit(0)
tf.logging.disable_progress_bar()

BATCH, SEQ, VOCAB = 2, 20, 64
SMALL = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, bos_token_id=0, eos_token_id=0)
GROUPED = dict(SMALL, num_key_value_heads=2)
GPT2 = dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)

# name: class, settings, dtype of the stored weights, whether some tokens are padding
MODELS = {
    "llama": (tf.LlamaForCausalLM, tf.LlamaConfig(**GROUPED), torch.float32, False),
    "llama-linear-tied-bias": (
        tf.LlamaForCausalLM,
        tf.LlamaConfig(**GROUPED, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=12,
                       rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=4.0)),
        torch.bfloat16, True),
    "llama3": (tf.LlamaForCausalLM, tf.LlamaConfig(**GROUPED, head_dim=16, rope_parameters=LLAMA3), torch.bfloat16, False),
    "mistral": (tf.MistralForCausalLM, tf.MistralConfig(**GROUPED, sliding_window=5), torch.float16, True),
    "qwen2": (
        tf.Qwen2ForCausalLM, tf.Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=4, max_window_layers=1), torch.bfloat16, False),
    "qwen3": (tf.Qwen3ForCausalLM, tf.Qwen3Config(**GROUPED, head_dim=16, tie_word_embeddings=True), torch.bfloat16, False),
    "gemma": (tf.GemmaForCausalLM, tf.GemmaConfig(**dict(GROUPED, num_key_value_heads=1), head_dim=16), torch.bfloat16, False),
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config(**GPT2), torch.bfloat16, True),
    "gpt2-by-layer": (tf.GPT2Model, tf.GPT2Config(**GPT2, n_inner=40, scale_attn_by_inverse_layer_idx=True), torch.bfloat16, False),
    "bert": (tf.BertModel, tf.BertConfig(**SMALL, max_position_embeddings=32), torch.bfloat16, True),
    "bert-masked-lm": (tf.BertForMaskedLM, tf.BertConfig(**SMALL, max_position_embeddings=32, hidden_act="gelu_new"), torch.bfloat16, True),
    "bert-sequences": (tf.BertForSequenceClassification, tf.BertConfig(**SMALL, max_position_embeddings=32, num_labels=3), torch.bfloat16, True),
}


def randomize(model, seed):
    """Weights large enough that every part of the model shows in its outputs; what is saved as 16 bits is rounded to them first."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if p.dim() > 1:
            p.data = noise * (0.5 if "emb" in name or "wte" in name or "wpe" in name else 1.5 / p.shape[1] ** 0.5)
        elif name.endswith("bias") or "gemma" in type(model).__name__.lower():
            p.data = noise * 0.3
        else:
            p.data = 1 + noise * 0.3


def outputs(folder, batch):
    model = type_of(folder).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        out = model(**{k: torch.from_numpy(v) for k, v in batch.items()})
    return {k: out[k].numpy() for k in ("logits", "last_hidden_state", "pooler_output") if k in out}


def type_of(folder):
    return MODELS[pathlib.Path(folder).name][0]


def make(folder, seed):
    cls, config, dtype, padded = MODELS[folder.name]
    model = cls(config)
    randomize(model, seed)
    model.tie_weights()
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    rng = np.random.default_rng(seed)
    batch = {"input_ids": rng.integers(1, VOCAB, (BATCH, SEQ))}
    if padded:
        batch["attention_mask"] = np.ones((BATCH, SEQ), np.int64)
        batch["attention_mask"][1, SEQ - 6:] = 0
    if config.model_type == "bert":
        batch["token_type_ids"] = (np.arange(SEQ)[None, :] >= np.array([[8], [11]])).astype(np.int64)
    np.savez_compressed(folder / "golden.npz", **batch, **outputs(folder, batch))


def check(folder):
    golden = dict(np.load(folder / "golden.npz"))
    batch = {k: golden.pop(k) for k in ("input_ids", "attention_mask", "token_type_ids") if k in golden}
    worst = max(float(np.abs(v - golden[k]).max()) for k, v in outputs(folder, batch).items())
    print(f"{folder.name}: {worst:.2g}")
    return worst < 1e-5


def main():
    args = [a for a in sys.argv[1:] if a != "--check"]
    root = pathlib.Path(args[0])
    torch.manual_seed(0)
    good = True
    for seed, name in enumerate(MODELS):
        if "--check" not in sys.argv:
            make(root / name, seed + 1)
        good &= check(root / name)
    print(f"torch {torch.__version__}, transformers {tf.__version__}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
