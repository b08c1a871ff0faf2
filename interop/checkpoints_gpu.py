"""Loads converted checkpoints with the real loaders and compares logits with the original model.

    PYTHON interop/checkpoints_gpu.py ORIGINAL CONVERTED... [--batch N]

ORIGINAL is a folder that transformers loads in its own type; each CONVERTED one is what `fp8rewrite convert ORIGINAL -o CONVERTED --layout L` wrote, or
what `fp8rewrite restore` made of that. Needs torch, transformers and safetensors; compressed-tensors for its layout. For each folder:

  - safetensors' torch reader opens every file;
  - transformers loads it: compressed-tensors through that package, quant_method fp8 natively. With --dequantize,
    and natively where the machine cannot run float8 products, it is asked to dequantize. Layouts that transformers does not know (modelopt, vLLM's names, comfy, float8-linear) are
    dequantized here, by the formula code * scale, and put into the original model;
  - no weight may be missing, unexpected or newly initialized;
  - the logits of random tokens are compared. Weights in float8 cost about 31 dB of signal to noise each; TOLERANCE is the bound on the relative error
    of the logits, |a - b| / |a| in the Euclidean norm, that a decoder of a few layers stays under.

Prints a line for each; exits 1 if a bound is not met, and says aloud what was skipped.
"""

import argparse
import json
import pathlib
import sys

TOLERANCE = 0.12  # relative, of the logits; a float8 weight alone gives 0.02 to 0.05 for llama of four layers
try:
    import safetensors.torch
    import torch
    import transformers
except ImportError as missing:
    print("SKIPPED: checkpoints_gpu.py needs torch, transformers and safetensors:", missing)
    sys.exit(0)

problems = 0


def tensors(folder):
    out = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        out.update(safetensors.torch.load_file(path))
    return out


def dequantized(folder):
    """The checkpoint's weights in float32, by the formulas of the layouts."""
    t, out = tensors(folder), {}
    for name, w in t.items():
        if w.dtype != torch.float8_e4m3fn:
            out[name] = w
            continue
        module = name.removesuffix(".weight")
        w = w.float()
        if module + ".fp8_scale_weight" in t:
            scale = 1 / t[module + ".fp8_scale_weight"]
        else:
            scale = next(t[k] for k in (module + ".weight_scale", module + ".weight_scale_inv", name + "_scale_inv") if k in t)
        if scale.dim() == 4:
            scale = scale.reshape(scale.shape[0], scale.shape[2])
        if scale.numel() == 1:
            out[name] = w * scale.reshape(())
        elif scale.dim() == 1 or scale.shape[-1] == 1 and scale.shape[0] == w.shape[0]:
            out[name] = w * scale.reshape(-1, 1)
        else:
            out[name] = w * scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[: w.shape[0], : w.shape[1]]
    return {k: v for k, v in out.items() if not k.rsplit(".", 1)[-1].startswith(("fp8_", "input_scale", "weight_scale", "activation_scale"))}


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids.to(model.device)).logits.float().cpu()


def method(folder):
    q = json.loads((pathlib.Path(folder) / "config.json").read_text()).get("quantization_config")
    return q


def load(folder, device, dequantize, asked):
    """The model as transformers loads it, or None where it does not know the layout."""
    q = method(folder)
    kwargs = {"dtype": torch.bfloat16, "device_map": device, "output_loading_info": True}
    if q is None and any(t.dtype == torch.float8_e4m3fn for t in tensors(folder).values()) or q and q["quant_method"] in ("float8-linear", "comfy"):
        return None
    if q is None:
        return transformers.AutoModelForCausalLM.from_pretrained(folder, **kwargs)
    if q["quant_method"] == "compressed-tensors":
        try:
            import compressed_tensors  # noqa: F401
        except ImportError:
            return "compressed-tensors is not installed"
        if asked:
            kwargs["quantization_config"] = transformers.CompressedTensorsConfig(dequantize=True)
        return transformers.AutoModelForCausalLM.from_pretrained(folder, **kwargs)  # it rounds activations to float8 on every device
    if q["quant_method"] == "fp8" and any(k.endswith("weight_scale_inv") for k in tensors(folder)):
        config = transformers.FineGrainedFP8Config(activation_scheme=q["activation_scheme"], weight_block_size=q["weight_block_size"],
                                                   modules_to_not_convert=q.get("modules_to_not_convert"), dequantize=dequantize)
        return transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, **kwargs)
    return None


def main():
    global problems
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original")
    parser.add_argument("converted", nargs="+")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dequantize", action="store_true", help="ask transformers to dequantize even where float8 products can run")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    dequantize = args.dequantize or not cuda or torch.cuda.get_device_capability() < (8, 9)
    original = transformers.AutoModelForCausalLM.from_pretrained(args.original, dtype=torch.bfloat16, device_map=device)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, original.config.vocab_size, (args.batch, 64), generator=generator)
    want = logits(original, ids)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, {'float8 products' if not dequantize else 'dequantized'} on {device}"
    print(versions)
    for folder in args.converted:
        error = lambda a, b: ((a - b).norm() / b.norm()).item()
        own = transformers.AutoModelForCausalLM.from_pretrained(args.original, dtype=torch.float32, device_map=device)
        state = dequantized(folder)
        result = own.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
        missing = [k for k in result.missing_keys if not (k == "lm_head.weight" and own.config.tie_word_embeddings)]
        if missing or result.unexpected_keys:
            problems += 1
            print(f"FAIL {folder}: weights that do not fit: missing {missing[:3]}, unexpected {result.unexpected_keys[:3]}")
            continue
        ours = logits(own, ids)
        line = f"own dequantizing {error(ours, want):.4f}"
        bad = error(ours, want) > TOLERANCE
        try:
            loaded = load(folder, device, dequantize, args.dequantize)
        except Exception as e:  # whatever a loader throws is what this script is here to find
            loaded, bad = f"{type(e).__name__}: {str(e)[:300]}", True
        if loaded is None:
            line += "; transformers does not know the layout: SKIPPED"
        elif isinstance(loaded, str):
            line += "; " + (loaded if bad else "SKIPPED: " + loaded)
        else:
            model, info = loaded
            if args.dequantize:  # compressed-tensors takes the weights' scales along, and has no use for those of activations
                info["unexpected_keys"] = {k for k in info["unexpected_keys"] if not k.endswith(".input_scale")}
            odd = {k: sorted(v)[:3] for k, v in info.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
            theirs = logits(model, ids)
            line += f"; transformers {error(theirs, want):.4f}, from ours {error(theirs, ours):.4f}"
            bad = bad or error(theirs, want) > TOLERANCE or bool(odd) or not torch.isfinite(theirs).all().item()
            if odd:
                line += f"; {odd}"
        problems += bad
        print("FAIL" if bad else "ok  ", pathlib.Path(folder).name, line)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
