"""Holds converted checkpoints against the formulas of their formats, in numpy, written from the formats' descriptions alone.

    PYTHON interop/checkpoints.py [--binary FILE] [--model FOLDER] [--keep FOLDER]

Needs safetensors, numpy and ml_dtypes. Without --binary it builds the command. It makes small checkpoints: a decoder with
joined layers, zeros, NaN, biases and odd extents in two shards, a mixture of experts in both spellings, and GPT-2's Conv1D; --model adds a folder
of the user's. Each is converted to every layout that takes it. For every float8 weight the scales, the codes, the names, types and shapes beside it
and the keys of config.json must be what the layout's description says:

    scale = max(amax, 1e-12) / 448        code = e4m3(clamp(w / scale, -448, 448))            (checkpoints)
    scale = 448 / max(amax, 1e-12)        code = e4m3(clamp(w * scale, -448, 448))            (float8-linear)

with the amax over the tensor, the row or the block of 128x128, and over the layers that engines join where a scale covers a whole weight. Then
`restore` must give dtype(code * scale), or dtype(code * amax / 448) where the amax is stored, and converting that again the same files. Prints a line for each; exits 1 if anything differs. Where torch,
transformers and compressed-tensors are installed, interop/checkpoints_gpu.py loads the same files with them.
"""

import argparse
import filecmp
import hashlib
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
from safetensors import safe_open  # noqa: F401  (an own reader of the header below: safetensors' numpy side has no bfloat16 in older releases)

ROOT = pathlib.Path(__file__).resolve().parent.parent
TYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn}
CODES = {np.dtype(v): k for k, v in TYPES.items()}
E4M3 = ml_dtypes.float8_e4m3fn
PROBLEMS = []


def problem(what):
    PROBLEMS.append(what)
    print("FAIL", what)


def write(path, tensors):
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        head[name] = {"dtype": CODES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.tobytes())


def read(path):
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        body = f.read()
    meta = head.pop("__metadata__", None)
    out = {}
    for name, h in head.items():
        lo, hi = h["data_offsets"]
        out[name] = np.frombuffer(body[lo:hi], dtype=TYPES[h["dtype"]]).reshape(h["shape"])
    with safe_open(path, framework="numpy") as f:  # the reference reader takes the file and sees the same names
        if set(f.keys()) != set(out):
            problem(f"{path}: the reference reader sees other tensors")
    return out, meta


def load(folder):
    """All tensors of a file or folder, which file each lies in, and config.json."""
    folder = pathlib.Path(folder)
    if folder.is_file():
        t, meta = read(folder)
        return t, {n: folder.name for n in t}, None, {folder.name: meta}
    index = folder / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    tensors, where, metas = {}, {}, {}
    for name in names:
        t, metas[name] = read(folder / name)
        tensors.update(t)
        where.update({n: name for n in t})
    if index.exists():
        told = json.loads(index.read_text())
        if told["weight_map"] != where:
            problem(f"{folder}: the index places tensors elsewhere")
        if told["metadata"]["total_size"] != sum(t.nbytes for t in tensors.values()):
            problem(f"{folder}: total_size is wrong")
    config = folder / "config.json"
    return tensors, where, json.loads(config.read_text()) if config.exists() else None, metas


def saturate(x):
    return np.clip(x.astype(np.float32), -448, 448).astype(E4M3)


EPS = np.float32(1e-12)
JOINED = [("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("w1", "w3")]


def group(module, weights):
    parent, _, last = module.rpartition(".")
    for names in JOINED:
        if last in names:
            return [f"{parent}.{n}" for n in names if f"{parent}.{n}" in weights]
    return [module]


def expand(scale, shape, block=None):
    """Scales as large as the weight."""
    n, k = shape[-2:]
    if block:
        return np.repeat(np.repeat(scale, 128, -2), 128, -1)[..., :n, :k]
    return np.broadcast_to(scale.reshape(-1, 1) if scale.size > 1 else scale.reshape(()), shape)


def blocks(w):
    n, k = w.shape
    pad = np.zeros((-(-n // 128) * 128, -(-k // 128) * 128), np.float32)
    pad[:n, :k] = np.abs(w)
    return pad.reshape(pad.shape[0] // 128, 128, -1, 128).max((1, 3))


def unstacked(tensors):
    """The experts of stacks as matrices of their own."""
    out = {}
    for name, t in tensors.items():
        m = re.fullmatch(r"(.*\.experts)\.(gate_up_proj|down_proj)", name)
        if not m:
            out[name] = t
            continue
        for e in range(t.shape[0]):
            if m[2] == "down_proj":
                out[f"{m[1]}.{e}.down_proj.weight"] = t[e]
            else:
                half = t.shape[1] // 2
                out[f"{m[1]}.{e}.gate_proj.weight"], out[f"{m[1]}.{e}.up_proj.weight"] = t[e, :half], t[e, half:]
    return out


def judge(label, before, after, config, metas, layout, scales, inputs):
    """Every float8 weight of a converted checkpoint against the formulas; every other tensor against the input's bytes."""
    stacked = layout in ("float8-linear", "fp8-transformers")
    before = before if stacked else unstacked(before)
    count = 0
    seen = set()
    weights = {n.removesuffix(".weight") for n, t in after.items() if t.dtype == E4M3}
    for name, code in after.items():
        if code.dtype != E4M3:
            continue
        count += 1
        module = name.removesuffix(".weight")
        w = before[name].astype(np.float32)
        seen.add(name)
        take = lambda suffix, shape: taken(after, seen, module + suffix, shape, label)
        if layout == "float8-linear":
            amax = np.abs(w).max()
            scale = take(".fp8_scale_weight", (1,))
            same(f"{label} {name} scale", scale, np.float32(448) / max(amax, EPS))
            same(f"{label} {name} amax", take(".fp8_amax_weight", (1,)), amax)
            same(f"{label} {name} history", take(".fp8_amax_history_weight", (16,))[:1], amax)
            for operand, first in (("input", 448), ("grad_output", 57344)):
                if not (operand == "input" and inputs):
                    same(f"{label} {name} {operand}", take(f".fp8_amax_{operand}", (1,)), np.float32(first))
                    same(f"{label} {name} {operand}", take(f".fp8_scale_{operand}", (1,)), np.float32(1))
                    same(f"{label} {name} {operand}", take(f".fp8_amax_history_{operand}", (16,)), np.zeros(16, np.float32))
                else:
                    for what in ("amax", "scale", "amax_history"):
                        take(f".fp8_{what}_{operand}", None)
            same(f"{label} {name} codes", code, saturate(w * scale))
            continue
        n, k = w.shape[-2:]
        grid = (-(-n // 128), -(-k // 128))
        if scales == "block":
            key, shape = {"modelopt": (".weight_scale", (grid[0], 1, grid[1], 1)), "compressed-tensors": (".weight_scale", grid)}.get(
                layout, (".weight_scale_inv", grid))
            if w.ndim == 3:
                got = taken(after, seen, name + "_scale_inv", (w.shape[0], *grid), label)
                amax = np.stack([blocks(x) for x in w])
            else:
                got, amax = take(key, shape).reshape(grid), blocks(w)
            full = np.stack([expand(s, w.shape[-2:], True) for s in got]) if w.ndim == 3 else expand(got, w.shape, True)
        elif scales == "channel":
            got = take(".weight_scale", (n,) if layout == "modelopt" else (n, 1))
            amax, full = np.abs(w).max(1).reshape(got.shape), expand(got, w.shape)
        elif w.ndim == 3:
            got = taken(after, seen, name + "_scale_inv", (w.shape[0], 2 if "gate_up" in name else 1, 1), label)
            amax = np.broadcast_to(np.abs(w).max((1, 2)).reshape(-1, 1, 1), got.shape)
            full = np.broadcast_to(got[:, :1], w.shape)
        else:
            key, shape = {"compressed-tensors": (".weight_scale", (1,)), "fp8-transformers": (".weight_scale_inv", ())}.get(layout, (".weight_scale", ()))
            got = take(key, shape)
            members = [module] if layout == "comfy" else group(module, weights)
            amax = np.float32(max(np.abs(before[m + ".weight"].astype(np.float32)).max() for m in members))
            full = expand(got, w.shape)
        same(f"{label} {name} scale", got, np.maximum(amax, EPS) / np.float32(448))
        same(f"{label} {name} codes", code, saturate(w / full))
        if inputs and scales == "tensor":
            key, shape = {"compressed-tensors": (".input_scale", (1,)), "fp8-transformers": (".activation_scale", ())}.get(layout, (".input_scale", ()))
            if w.ndim == 3:
                taken(after, seen, name + "_activation_scale", (w.shape[0],), label)
            else:
                got = take(key, shape)
                names = [module] if layout == "comfy" else group(module, weights)
                same(f"{label} {name} input scale", got, max(np.float32(inputs[m]) for m in names if m in inputs) / np.float32(448))
    for name, t in after.items():
        if name not in seen and (name not in before or before[name].tobytes() != t.tobytes()):
            problem(f"{label}: {name} is neither a tensor of the input nor of the layout")
    kept = {n.removesuffix(".weight") for n, t in before.items() if n.endswith(".weight") and t.ndim == 2 and n in after and after[n].dtype != E4M3}
    if config is not None:
        settings(label, config.get("quantization_config"), layout, scales, inputs, kept, weights)
    if layout == "comfy":
        for file, meta in metas.items():
            told = json.loads(meta["_quantization_metadata"]) if "_quantization_metadata" in meta else {"layers": {}}
            if not set(told["layers"]) <= weights or any(v != {"format": "float8_e4m3fn"} for v in told["layers"].values()):
                problem(f"{label}: metadata of {file}: {told}")
    for file, meta in metas.items():
        if (meta or {}).get("format") != "pt":
            problem(f"{label}: {file} has metadata {meta}")
    return count


def taken(after, seen, name, shape, label):
    seen.add(name)
    t = after.get(name)
    if t is None:
        problem(f"{label}: no tensor {name}")
        return np.ones(shape or (), np.float32)
    if t.dtype != np.float32 or shape is not None and t.shape != tuple(shape):
        problem(f"{label}: {name} is {t.dtype}{t.shape}, want float32{shape}")
    return t


def same(what, got, want):
    got, want = np.asarray(got), np.broadcast_to(np.asarray(want, np.asarray(got).dtype), np.shape(got))
    if got.tobytes() != np.ascontiguousarray(want).tobytes():
        g, w = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
        at = int(np.flatnonzero(~((g == w) | (np.isnan(g) & np.isnan(w))))[0]) if (g != w).any() else -1
        problem(f"{what}: {np.count_nonzero(g != w)} of {g.size} differ, at {at} got {g[at]} want {w[at]}")


def settings(label, q, layout, scales, inputs, kept, weights):
    linear = {k for k in kept if not re.search(r"embed|norm|wte|wpe", k)}
    static = bool(inputs) and scales == "tensor"
    want = None
    if layout == "compressed-tensors":
        g = q["config_groups"]["group_0"]
        args = {"num_bits": 8, "type": "float", "symmetric": True}
        weights_want = args | {"strategy": scales, "dynamic": False} | ({"block_structure": [128, 128]} if scales == "block" else {})
        act = args | ({"strategy": "tensor", "dynamic": False} if static else {"strategy": "group", "dynamic": True, "group_size": 128}
                      if scales == "block" else {"strategy": "token", "dynamic": True})
        got = (q["quant_method"], q["format"], q["quantization_status"], g["targets"], g["weights"], g["input_activations"], set(q["ignore"]))
        want = ("compressed-tensors", "float-quantized", "compressed", ["Linear"], weights_want, act, linear | set(q["ignore"]) & {"lm_head"})
    elif layout in ("fp8", "fp8-transformers", "deepseek"):
        block = [128, 128] if scales == "block" else None
        ignored = q.get("ignored_layers") if layout != "fp8-transformers" else q.get("modules_to_not_convert")
        got = (q["quant_method"], q["activation_scheme"], q["weight_block_size"], set(ignored or []))
        want = ("fp8", "static" if static else "dynamic", block, linear | set(ignored or []) & {"lm_head"})
    elif layout == "modelopt":
        got = (q["quant_method"], q["quant_algo"], set(q["ignore"]))
        want = ("modelopt", {"tensor": "FP8", "channel": "FP8_PER_CHANNEL_PER_TOKEN", "block": "FP8_PB_WO"}[scales], linear | set(q["ignore"]) & {"lm_head"})
    else:
        return
    if got != want:
        problem(f"{label}: config.json says {got}, want {want}")


def restored(label, after, back, dtype):
    """restore: dtype(code * scale), and nothing of float8 left."""
    for name, t in back.items():
        if t.dtype == E4M3 or re.search(r"scale|fp8_", name):
            problem(f"{label}: {name} is left")
        if name not in after or after[name].dtype != E4M3:
            continue
        module, code = name.removesuffix(".weight"), after[name].astype(np.float32)
        if module + ".fp8_amax_weight" in after:
            amax = np.maximum(after[module + ".fp8_amax_weight"], EPS).astype(np.float64)
            same(f"{label} {name} restored", t, (code.astype(np.float64) * amax / 448).astype(np.float32).astype(dtype))
            continue
        scale = after[next(k for k in (module + ".weight_scale", module + ".weight_scale_inv", name + "_scale_inv") if k in after)]
        n, k = code.shape[-2:]
        if scale.ndim == 4:
            scale = scale.reshape(scale.shape[0], scale.shape[2])
        grid = (-(-n // 128), -(-k // 128))
        if code.ndim == 3 and scale.size > 1:
            each = scale.reshape(code.shape[0], *scale.shape[1:])
            full = np.stack([expand(s, (n, k), True) if s.shape == grid else np.broadcast_to(s[:1], (n, k)) for s in each])
        else:
            full = expand(scale, code.shape, scale.ndim == 2 and scale.shape == grid and scale.shape != (n, 1))
        same(f"{label} {name} restored", t, (code * full).astype(dtype))


def decoder(rng, dtype):
    """Two shards. One layer of zeros, one with a NaN whose group must stay, one group that spans the shards."""
    a, b = {}, {}
    w = lambda *s: (rng.standard_normal(s) * 0.05).astype(dtype)
    a["model.embed_tokens.weight"] = w(64, 256)
    for i in range(3):
        at, p = a if i < 2 else b, f"model.layers.{i}."
        for name, shape in {"self_attn.q_proj": (256, 256), "self_attn.k_proj": (128, 256), "self_attn.v_proj": (128, 256), "self_attn.o_proj": (256, 256),
                            "mlp.gate_proj": (384, 256), "mlp.up_proj": (384, 256), "mlp.down_proj": (256, 384)}.items():
            at[p + name + ".weight"] = w(*shape)
        at[p + "self_attn.q_proj.bias"] = w(256)
        at[p + "input_layernorm.weight"] = w(256)
    a["model.layers.0.mlp.down_proj.weight"][:] = 0
    b["model.layers.1.self_attn.v_proj.weight"] = a.pop("model.layers.1.self_attn.v_proj.weight")
    b["model.layers.2.mlp.up_proj.weight"][3, 5] = np.nan
    a["model.layers.1.mlp.down_proj.weight"][7] = 0
    a["model.layers.1.self_attn.o_proj.weight"][:] = (rng.integers(-448, 449, (256, 256)) / 448).astype(dtype)  # quotients in the middle between codes
    a["model.layers.1.self_attn.o_proj.weight"][0, 0] = 1
    b["model.norm.weight"], b["lm_head.weight"] = w(256), w(64, 256)
    b["model.layers.1.odd.weight"] = w(72, 200)
    return [a, b], {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_attention_heads": 4, "tie_word_embeddings": False,
                    "dtype": {"float32": "float32", "float16": "float16"}.get(np.dtype(dtype).name, "bfloat16")}


def mixture(rng, dtype, stacked):
    w = lambda *s: (rng.standard_normal(s) * 0.05).astype(dtype)
    t = {"model.embed_tokens.weight": w(32, 128), "model.layers.0.mlp.gate.weight": w(4, 128)}
    if stacked:
        t["model.layers.0.mlp.experts.gate_up_proj"], t["model.layers.0.mlp.experts.down_proj"] = w(4, 512, 128), w(4, 128, 256)
    else:
        for e in range(4):
            for name, shape in {"gate_proj": (256, 128), "up_proj": (256, 128), "down_proj": (128, 256)}.items():
                t[f"model.layers.0.mlp.experts.{e}.{name}.weight"] = w(*shape)
    return [t], {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_attention_heads": 4, "tie_word_embeddings": True, "dtype": "bfloat16"}


def gpt2(rng, dtype):
    w = lambda *s: (rng.standard_normal(s) * 0.05).astype(dtype)
    t = {"transformer.wte.weight": w(64, 96), "transformer.wpe.weight": w(32, 96)}
    for name, n, k in (("attn.c_attn", 288, 96), ("attn.c_proj", 96, 96), ("mlp.c_fc", 384, 96), ("mlp.c_proj", 96, 384)):
        t[f"transformer.h.0.{name}.weight"], t[f"transformer.h.0.{name}.bias"] = w(k, n), w(n)
    return [t], {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_head": 4, "dtype": "bfloat16"}


def save(folder, shards, config):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "sub").mkdir()
    (folder / "sub" / "notes.txt").write_text("copied as it is\n")
    if len(shards) == 1:
        write(folder / "model.safetensors", shards[0])
        return
    places = {}
    for i, t in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        write(folder / name, t)
        places |= {n: name for n in t}
    total = sum(x.nbytes for t in shards for x in t.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}))


def equal(a, b):
    c = filecmp.dircmp(a, b)
    _, wrong, odd = filecmp.cmpfiles(a, b, c.common_files, shallow=False)
    return not (c.left_only or c.right_only or wrong or odd) and all(equal(pathlib.Path(a) / d, pathlib.Path(b) / d) for d in c.common_dirs)


CASES = [("float8-linear", "tensor"), ("compressed-tensors", "tensor"), ("compressed-tensors", "channel"), ("compressed-tensors", "block"),
         ("fp8", "tensor"), ("fp8", "block"), ("fp8-transformers", "tensor"), ("fp8-transformers", "block"), ("modelopt", "channel"),
         ("modelopt", "block"), ("comfy", "tensor"), ("deepseek", "block")]
STATIC = [("compressed-tensors", "tensor"), ("fp8", "tensor"), ("fp8-transformers", "tensor"), ("modelopt", "tensor"), ("comfy", "tensor")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--keep", help="a folder in which the converted checkpoints stay")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(args.keep or temporary)
        work.mkdir(exist_ok=True)
        binary = args.binary or str(pathlib.Path(temporary) / "fp8rewrite")
        if not args.binary:
            subprocess.run(["go", "build", "-o", binary, "./cmd/fp8rewrite"], cwd=ROOT, check=True)
        run(work, binary, args.model)
    print(f"{len(PROBLEMS)} problems")
    return 1 if PROBLEMS else 0


def run(work, binary, models):
    rng = np.random.default_rng(7)
    made = {"decoder-bf16": decoder(rng, ml_dtypes.bfloat16), "decoder-f16": decoder(rng, np.float16), "decoder-f32": decoder(rng, np.float32),
            "experts": mixture(rng, ml_dtypes.bfloat16, False), "stack": mixture(rng, ml_dtypes.bfloat16, True), "gpt2": gpt2(rng, ml_dtypes.bfloat16)}
    folders = {}
    for name, (shards, config) in made.items():
        folders[name] = work / name
        save(folders[name], shards, config)
    folders |= {pathlib.Path(m).name: pathlib.Path(m) for m in models}
    command = lambda *a: subprocess.run([binary, *map(str, a)], capture_output=True, text=True)
    for name, source in folders.items():
        before, _, config, _ = load(source)
        dtype = {"float32": np.float32, "float16": np.float16}.get(config.get("dtype"), ml_dtypes.bfloat16)
        for layout, scales in CASES:
            one(command, work, name, source, before, dtype, layout, scales, None)
        if name.startswith(("gpt2", "stack")):
            continue
        # A state of made-up amaxes, in the layout that keeps them.
        state = {n.removesuffix(".weight"): np.float32(rng.uniform(0.5, 20)) for n in before if n.endswith(".weight")}
        write(work / f"{name}-state.safetensors", {f"{m}.fp8_amax_history_input": np.array([a] + [0] * 15, np.float32) for m, a in state.items()})
        for layout, scales in STATIC:
            one(command, work, name, source, before, dtype, layout, scales, (work / f"{name}-state.safetensors", state))


def one(command, work, name, source, before, dtype, layout, scales, inputs):
    label = f"{name} {layout} {scales}" + (" static" if inputs else "")
    out = work / label.replace(" ", "_")
    extra = ["--input-scales", inputs[0]] if inputs else []
    got = command("convert", source, "-o", out, "--layout", layout, "--scales", scales, "-q", *extra)
    if "gpt2" in name and layout != "float8-linear":
        if got.returncode != 1 or "Conv1D" not in got.stderr or out.exists():
            problem(f"{label}: want a refusal that names Conv1D, got {got.returncode} {got.stderr}")
        else:
            print("ok  ", label, "refused")
        return
    if got.returncode:
        problem(f"{label}: {got.stderr}")
        return
    known = len(PROBLEMS)
    after, where, config, metas = load(out)
    count = judge(label, before, after, config, metas, layout, scales, inputs and inputs[1])
    if count == 0:
        problem(f"{label}: no layer is float8")
    for other in ("tokenizer.json", "sub/notes.txt"):
        if (source / other).exists() and (out / other).read_bytes() != (source / other).read_bytes():
            problem(f"{label}: {other} is not copied")
    back = pathlib.Path(str(out) + ".back")
    got = command("restore", out, "-o", back, "-q")
    if got.returncode:
        problem(f"{label}: restore: {got.stderr}")
        return
    tensors, _, config, _ = load(back)
    if "quantization_config" in config or (back / "hf_quant_config.json").exists():
        problem(f"{label}: the restored folder has settings of float8")
    restored(label, after, tensors, dtype)
    again = pathlib.Path(str(out) + ".again")
    got = command("convert", back, "-o", again, "--layout", layout, "--scales", scales, "-q", *extra)
    if got.returncode or not equal(out, again):
        problem(f"{label}: converting the restored checkpoint again gives other bytes {got.stderr}")
    if len(PROBLEMS) == known:
        digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(out.glob("*.safetensors")))).hexdigest()[:12]
        print("ok  ", label, f"{count} float8 weights", digest)


if __name__ == "__main__":
    sys.exit(main())
