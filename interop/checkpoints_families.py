"""Converts tiny random models of many families and loads them with transformers: names, stacks of experts, joined layers, ties, ignore lists.

    PYTHON interop/checkpoints_families.py [--binary FILE] [FAMILY...]

Needs torch, transformers and compressed-tensors; without them it says so and ends. Each model is saved by transformers in bfloat16 and converted to every
layout that transformers reads. No weight may be missing, unexpected or of another shape, and the logits must be near those of the original: within
NEAR of their Euclidean norm, or ROUTED for a mixture of experts, whose router may choose other experts for random weights. Prints a line for each; exits 1
if anything differs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

NEAR, ROUTED = 0.15, 0.3
ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ["TQDM_DISABLE"] = "1"
try:
    import compressed_tensors  # noqa: F401
    import torch
    import transformers as T
except ImportError as missing:
    print("SKIPPED: checkpoints_families.py needs torch, transformers and compressed-tensors:", missing)
    sys.exit(0)
T.logging.set_verbosity_error()
T.logging.disable_progress_bar()

SIZES = {"vocab_size": 128, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "max_position_embeddings": 128}
PLAIN = {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}
FAMILIES = {
    "llama": lambda: T.LlamaConfig(**SIZES, attention_bias=True),
    "mistral": lambda: T.MistralConfig(**SIZES, head_dim=64),
    "qwen2": lambda: T.Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3": lambda: T.Qwen3Config(**SIZES, head_dim=64),
    "gemma2": lambda: T.Gemma2Config(**SIZES, head_dim=64),
    "gemma3": lambda: T.Gemma3TextConfig(**SIZES, head_dim=64),
    "phi3": lambda: T.Phi3Config(**SIZES, pad_token_id=0),
    "opt": lambda: T.OPTConfig(vocab_size=128, hidden_size=128, ffn_dim=256, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128,
                               word_embed_proj_dim=128),
    "gpt_neox": lambda: T.GPTNeoXConfig(**PLAIN),
    "mixtral": lambda: T.MixtralConfig(**SIZES, num_local_experts=4),
    "qwen3_moe": lambda: T.Qwen3MoeConfig(**SIZES, head_dim=64, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=128),
    "gpt_oss": lambda: T.GptOssConfig(**SIZES, head_dim=64, num_local_experts=4),
    "llama4": lambda: T.Llama4TextConfig(**SIZES, head_dim=64, num_local_experts=2, intermediate_size_mlp=256, moe_layers=[1]),
    "deepseek_v3": lambda: T.DeepseekV3Config(**PLAIN, num_key_value_heads=4, moe_intermediate_size=128, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
                                              topk_group=1, first_k_dense_replace=1, q_lora_rank=128, kv_lora_rank=128, qk_rope_head_dim=32,
                                              qk_nope_head_dim=32, v_head_dim=32),
}
ROUTERS = ("mixtral", "qwen3_moe", "gpt_oss", "llama4", "deepseek_v3")
LAYOUTS = (("compressed-tensors", "channel"), ("compressed-tensors", "tensor"), ("compressed-tensors", "block"), ("fp8-transformers", "tensor"),
           ("fp8-transformers", "block"), ("deepseek", "block"))

# What a loader cannot do with what its own format says: it is tried all the same, and said.
KNOWN = {("mixtral", "compressed-tensors", "block"): "transformers 5.23 multiplies experts by their block scales without spreading these over the blocks"}


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(ids).logits.float()


def family(name, work, binary):
    torch.manual_seed(0)
    model = T.AutoModelForCausalLM.from_config(FAMILIES[name](), dtype=torch.bfloat16)
    for p in model.parameters():
        if p.dim() >= 2:
            torch.nn.init.normal_(p, std=0.06)
    source = work / name
    model.save_pretrained(source)
    ids = torch.randint(0, 128, (2, 32))
    want = logits(T.AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16), ids)
    problems = 0
    for layout, scales in LAYOUTS:
        out = work / f"{name}-{layout}-{scales}"
        got = subprocess.run([binary, "convert", source, "-o", out, "--layout", layout, "--scales", scales, "--json"], capture_output=True, text=True)
        if got.returncode:
            problems += 1
            print("FAIL", name, layout, scales, got.stderr.strip())
            continue
        totals = json.loads(got.stdout)["totals"]
        rows = f"{totals['rewritten']} of {totals['layers']} layers " + " ".join(f"{r['code']}:{r['layers']}" for r in totals["reasons"])
        try:
            loaded, info = T.AutoModelForCausalLM.from_pretrained(out, dtype=torch.bfloat16, output_loading_info=True)
            error = ((logits(loaded, ids) - want).norm() / want.norm()).item()
        except Exception as e:  # whatever a loader throws is what this script is here to find
            if (name, layout, scales) in KNOWN:
                print("KNOWN", name, layout, scales, KNOWN[name, layout, scales])
                continue
            problems += 1
            print("FAIL", name, layout, scales, type(e).__name__, str(e)[:300], rows)
            continue
        odd = {k: sorted(map(str, v))[:3] for k, v in info.items() if v}
        bad = bool(odd) or not error < (ROUTED if name in ROUTERS else NEAR) or totals["rewritten"] == 0
        problems += bad
        print("FAIL" if bad else "ok  ", name, layout, scales, f"{error:.4f}", rows, odd or "")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary")
    parser.add_argument("family", nargs="*", default=list(FAMILIES))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        binary = args.binary or str(work / "fp8rewrite")
        if not args.binary:
            subprocess.run(["go", "build", "-o", binary, "./cmd/fp8rewrite"], cwd=ROOT, check=True)
        print(f"torch {torch.__version__}, transformers {T.__version__}, compressed-tensors {compressed_tensors.__version__}")
        problems = sum(family(name, work, binary) for name in args.family)
    print(f"{problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
