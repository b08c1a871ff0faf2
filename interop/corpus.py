"""`make corpus CORPUS=DIR`: converts every ONNX model of a collected corpus and has onnx and ONNX Runtime judge the results.

The corpus stays where it is. Its README.md lists the files in markdown tables, of which the columns `file`, `cw` (MatMul and Gemm nodes with
a constant operand / all) and `ort` are read. A model that ONNX Runtime loads must convert, or be left as it is with reasons, and every output
must load where its original does. A file in malformed/ that the README or both runtimes refuse must be refused: exit 1, one line on standard error, no output,
memory in proportion to the file. Writes docs/CORPUS.md; exits 1 if anything differs.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import sys

import driver

RECIPES = {"delayed": (), "dynamic": ("--recipe", "dynamic")}
FOLDERS = ("trained", "transformer", "trait", "external", "quant", "conformance", "conformance-ext", "malformed")
MIB = 1 << 20

# The attacks on external data come without a table in the corpus. What must happen, and what the error must name. None: the authors of the format ignore an unknown key
# with a warning while ONNX Runtime refuses it, so both are right as long as they are clean.
ATTACKS = {
    "double_slash_abs": ("refuse", "//file.bin"),
    "drive": ("refuse", "C:/file.bin"),
    "hardlink": ("convert", ""),
    "neg_offset": ("refuse", "offset"),
    "nonnum_offset": ("refuse", "offset"),
    "offset_past_end": ("refuse", "weights.bin"),
    "parent2": ("refuse", "../../file.bin"),
    "symlink_file": ("refuse", "weights.bin"),
    "unknown_key": (None, ""),
    "zero_len": ("convert", ""),
}
LINK_OUT = "symlink_out (made here)"


class Model:
    """One file of the corpus and all that was found out about it."""

    def __init__(self, path, name, row):
        self.path, self.name, self.folder, self.row = path, name, name.split("/")[0], row
        self.bytes = sum(f.stat().st_size for f in path.parent.iterdir() if f.is_file()) if self.folder == "external" else path.stat().st_size
        self.loads, self.why_not = {}, {}  # by worker name: the original
        self.expect = None
        self.named = ""
        self.runs = {}  # by recipe
        self.problems = []
        self.count = None
        self.sqnr, self.formula, self.real, self.compared = [], [], [], ""

    def fail(self, text):
        self.problems.append(text)


class Run:
    """One conversion: the child, the report, and in which runtimes the output loads."""

    def __init__(self, child, target, report):
        self.child, self.target, self.report, self.loads = child, target, report, {}

    def kept(self):
        return collections.Counter(l["reason"]["code"] for l in self.report["layers"] if l["decision"] == "kept")

    def rewritten(self):
        return sum(l["decision"] == "rewritten" for l in self.report["layers"])


def read_readme(path):
    """Rows of the README's tables by file: a dict per row, keys from the header of its table."""
    rows, header = {}, None
    for line in path.read_text().splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [c.strip() for c in line.strip("|").split("|")]
        if header is None:
            header = cells
        elif not set(line) <= set("|- :"):
            rows[cells[0]] = dict(zip(header, cells))
    return rows


def find_models(corpus, only):
    rows = read_readme(corpus / "README.md")
    models = []
    for folder in FOLDERS:
        for path in sorted((corpus / folder).glob("**/*.onnx")):
            name = path.relative_to(corpus).as_posix()
            if only is None or re.search(only, name):
                models.append(Model(path, name, rows.get(name)))
    return models


def expectations(models, workers):
    """What must become of each file: "convert" where a runtime loads it, "refuse" where the corpus says that it is bad, else None."""
    for m in models:
        for w in workers:
            got = w.ask("load", path=m.path)
            m.loads[w.name] = got["ok"]
            if not got["ok"]:
                m.why_not[w.name] = got["error"]
        attack = m.path.parent.name if m.name.startswith("malformed/onnx-upstream-extdata/") else m.name
        if m.name == LINK_OUT:
            m.expect, m.named = "refuse", "weights.bin"
        elif attack in ATTACKS:
            m.expect, m.named = ATTACKS[attack]
        elif m.folder == "malformed" and m.row and m.row["ort"].startswith("FAIL"):
            m.expect = "refuse"
        elif any(m.loads.values()):
            m.expect = "convert"


def link_attack(corpus, folder):
    """A copy of the attack symlink_file with the link that a copied folder cannot hold: to a file outside the model's folder."""
    source = corpus / "malformed" / "onnx-upstream-extdata" / "symlink_file" / "model.onnx"
    if not source.exists() or os.name == "nt":
        return []
    inside = folder / "link" / "model"
    inside.mkdir(parents=True)
    shutil.copy(source, inside / "model.onnx")
    (folder / "link" / "secret.bin").write_bytes(bytes(64))
    (inside / "weights.bin").symlink_to(folder / "link" / "secret.bin")
    m = Model(inside / "model.onnx", LINK_OUT, None)
    m.folder = "malformed"
    return [m]


def judge_child(m, recipe, run, idle_rss):
    """Exit status, the error line, what was left on disk, memory."""
    child, left = run.child, sorted(p.name for p in run.target.parent.iterdir())
    lines = [l for l in child.stderr.strip().splitlines() if l.strip() and not l.startswith("hint:")]
    if child.crashed():
        m.fail(f"{recipe}: crashed: {child.stderr.strip()[:200]}")
    # The whole file may be resident while it is read and again while it is written; 64 MiB more are the Go runtime's slack.
    if child.rss - idle_rss > 64 * MIB + 4 * m.bytes:
        m.fail(f"{recipe}: {child.rss / MIB:.0f} MiB resident for a file of {m.bytes / MIB:.1f} MiB")
    if m.expect == "refuse" and child.code != 1:
        m.fail(f"{recipe}: exit {child.code}, want 1: the file is bad")
    if m.expect == "convert" and child.code != 0:
        m.fail(f"{recipe}: exit {child.code}: {lines[0] if lines else 'no error line'}")
    if child.code == 0:
        if run.report is None or not run.target.exists():
            m.fail(f"{recipe}: exit 0 without a report and an output")
    else:
        if len(lines) != 1:
            m.fail(f"{recipe}: {len(lines)} error lines, want 1: {child.stderr.strip()[:200]!r}")
        elif m.expect == "refuse" and m.named not in lines[0]:
            m.fail(f"{recipe}: the error does not name {m.named!r}: {lines[0]!r}")
        if set(left) - {"report.json"}:
            m.fail(f"{recipe}: exit {child.code} and files left behind: {left}")


def judge_layers(m, recipe, run, newest):
    """The report's layers against a count made in Python and against the README's."""
    if m.count is None:
        m.count = newest.ask("count", path=m.path)
        if not m.count["ok"]:
            m.fail(f"count: {m.count['error']}")
    if not m.count["ok"]:
        return
    rows, layers = m.count["rows"], [l for l in run.report["layers"] if l["op"] in ("MatMul", "Gemm")]
    constant = sum(r["constant"] for r in rows)
    if m.row and m.row["cw"] and m.row["cw"] != f"{constant}/{len(rows)}":
        m.fail(f"counted {constant}/{len(rows)} MatMul and Gemm with a constant, the corpus says {m.row['cw']}")
    for l in layers:
        if l["decision"] == "kept" and not (l["reason"] and l["reason"]["code"] and l["reason"]["sentence"]):
            m.fail(f"{recipe}: layer {l['name']!r} is kept without a reason")
    if m.count["function_rows"]:
        # An inlined function's layers appear once per call: only a lower bound can be held.
        if len(layers) < len(rows) - m.count["function_rows"]:
            m.fail(f"{recipe}: the report names {len(layers)} MatMul and Gemm, the graph holds {len(rows)}")
        return
    mine, theirs = collections.defaultdict(list), collections.defaultdict(list)
    for r in rows:
        mine[r["op"], r["node"]].append(r["constant"])
    for l in layers:
        # The tool also follows operators that the corpus does not count through, to say that it does not fold them.
        code = "" if l["decision"] == "rewritten" else l["reason"]["code"]
        theirs[l["op"], l["node"]].append({"no-constant-operand": False, "weight-unresolved": None}.get(code, True))
    for key in {**mine, **theirs}:
        a, b = mine[key], theirs[key]
        if len(a) != len(b) or not b.count(True) <= a.count(True) <= b.count(True) + b.count(None):
            m.fail(f"{recipe}: {key[0]} {key[1]!r}: the graph holds {len(a)}, {a.count(True)} with a constant; "
                   f"the report {len(b)}, {b.count(True)} with a constant and {b.count(None)} unresolved")


def judge_output(m, recipe, run, workers):
    """Every output loads where its original does, and says no more there."""
    for w in workers:
        if not m.loads[w.name]:
            continue
        got = w.ask("load", path=run.target)
        run.loads[w.name] = got["ok"]
        if not got["ok"]:
            m.fail(f"{recipe}: {w.name} loads the original but not the output: {got['error']}")
        elif got["log"]:
            before = without_place(w.ask("load", path=m.path)["log"])
            new = [l for l in without_place(got["log"]) if l not in before]
            if new:
                m.fail(f"{recipe}: {w.name} says of the output only: {new[0][:200]}")


def without_place(log):
    """Log lines without colour, time and source line."""
    return [re.sub(r"^\S+ \S+ \[(\w):[^\]]*\] *", r"[\1] ", re.sub(r"\x1b\[[0-9;]*m", "", l)) for l in log.splitlines()]


def measure(m, run, newest):
    """With dynamic scaling: the outputs against the stored reference, and the formula inside the model."""
    reference = m.path.parent / "ort_ref.npz"
    if not reference.exists() or not run.loads.get(newest.name):
        m.compared = "no stored input and output" if run.loads.get(newest.name) else ""
        return
    real = m.path.parent / "real_io.npz"
    if real.exists() and run.rewritten():
        got = newest.ask("compare", path=run.target, reference=real)
        m.real = [o["db"] for o in got.get("outputs", []) if o.get("float") and o.get("db") is not None]
    original, got = newest.ask("compare", path=m.path, reference=reference), newest.ask("compare", path=run.target, reference=reference)
    if not got["ok"]:
        if original["ok"]:
            m.fail(f"dynamic: the original runs on the stored input and the output does not: {got['error']}")
        m.compared = "does not run"
        return
    before = {o["name"]: o for o in original.get("outputs", [])}
    for o in got["outputs"]:
        o["before"] = before.get(o["name"], {})
        m.sqnr.append(o)
    if run.rewritten():
        answer = newest.ask("formula", path=run.target, feeds=reference, recipe=run.report["settings"]["recipe"], original=m.path,
                            weights={l["name"]: l["weight"] for l in run.report["layers"] if l["decision"] == "rewritten"})
        if not answer["ok"]:
            m.fail(f"formula: {answer['error']} at {answer.get('at')}")
            return
        m.formula = answer["layers"]
        for l in m.formula:
            if l["relative"] > l["tolerance"] or not l["nan_agree"]:
                m.fail(f"node {l['node']!r}: the formula in numpy differs by {l['relative']:.2e} relative")


def explanation(m):
    """Where a model below 20 dB loses it, from its own figures."""
    parts = []
    alone = [(i, l) for i, l in enumerate(m.formula, 1) if l.get("db") is not None]
    if alone:
        parts.append("each layer alone, in order, keeps " + ", ".join(f"{l['db']:.0f}" for _, l in alone) + " dB")
        i, worst = min(alone, key=lambda l: l[1]["db"])
        if (worst["cancel"] or 0) > 1.5:
            parts.append(f"in layer {i} the products cancel: the result is {1 / worst['cancel']:.2f} of their root sum of squares, so their rounding errors weigh {worst['cancel']:.1f} times as much")
        if min(l["db"] for _, l in alone) > 20:
            parts.append("the rest is what the layers after a layer make of its error")
    if m.formula:
        parts.append(f"every layer follows the formula to {max(l['relative'] for l in m.formula):.0e}, so the loss is that of float8e4m3fn's three mantissa bits")
    if m.real:
        parts.append(f"on its real inputs the model keeps {min(m.real):.1f} dB (the reference has random ones)")
    return "; ".join(parts)


def quartiles(values):
    v = sorted(values)
    at = lambda q: v[round(q * (len(v) - 1))]
    return [at(0), at(0.25), at(0.5), at(0.75), at(1)]


def lowest(m):
    values = [o["db"] for o in m.sqnr if o.get("float") and o.get("db") is not None]
    return min(values) if values else None


def sqnr_cell(m):
    if not m.sqnr:
        return m.compared or "-"
    low, floats = lowest(m), [o for o in m.sqnr if o.get("float")]
    if low is not None:
        return f"{low:.1f}"
    if not floats:
        return "no float output"
    return ", ".join(sorted({o["state"] for o in floats}))


def kept_cell(run):
    return ", ".join(f"{code} {n}" for code, n in sorted(run.kept().items())) or "-"


def loads_cell(m, run, workers):
    """Per runtime: the original, then the output."""
    word = {True: "yes", False: "no", None: "-"}
    return ", ".join(f"{word[m.loads[w.name]]}/{word[run.loads.get(w.name)] if run else '-'}" for w in workers)


def model_rows(models, workers):
    out = []
    for m in models:
        run = m.runs["dynamic"]
        counted = m.row["cw"] if m.row and m.row.get("cw") else (
            f"{sum(r['constant'] for r in m.count['rows'])}/{len(m.count['rows'])}" if m.count and m.count["ok"] else "-")
        if run.report is None:
            cells = ["-", f"exit {run.child.code}: {first_line(m, run)}", loads_cell(m, run, workers), "-"]
        else:
            cells = [run.rewritten(), kept_cell(run), loads_cell(m, run, workers), sqnr_cell(m)]
        out.append([m.name, counted, *cells, "FAIL" if m.problems else "ok"])
    return out


def first_line(m, run):
    """The first line of standard error without the places of this machine."""
    # Go's protobuf puts a no-break space into its errors in some builds and a space in others.
    line = (run.child.stderr.strip().splitlines() or [""])[0].replace("\u00a0", " ")
    for place, word in ((m.path, m.path.name), (m.path.parent, "DIR"), (run.target.parent, "OUT")):
        line = line.replace(str(place), word)
    return line


def markdown(models, workers, idle_rss):
    good = [m for m in models if m.folder != "malformed"]
    lines = ["# The corpus", "",
             "Made by `make corpus CORPUS=DIR`; do not edit. The models were collected from public repositories; their licences differ, so they are not part of this "
             "project. Every one was converted with `--recipe delayed` (the default) and with `--recipe dynamic`, and judged by " + " and ".join(w.name for w in workers) + ".", ""]
    lines += ["## Counts", "", *summary(good, workers), "", driver.table(("folder", "models", *(f"{w.name} loads" for w in workers), "converted", "of these with rewritten layers", "MatMul and Gemm",
              "with a constant", "rewritten", "outputs that load", "as expected"), count_rows(good, workers), markdown=True), ""]
    lines += ["The corpus names its own count of MatMul and Gemm nodes with a constant operand (`cw`). A second count, in Python and apart from the Go code, "
              "agrees with it and with the report in every row marked ok. \"Outputs that load\" counts both recipes in every runtime that loads the original.", ""]
    reasons = collections.Counter()
    for m in good:
        if m.runs["dynamic"].report:
            reasons += m.runs["dynamic"].kept()
    lines += ["## Why layers were kept", "", driver.table(("reason", "layers"), sorted(reasons.items(), key=lambda r: (-r[1], r[0])), markdown=True), ""]
    lines += sqnr_section(good)
    formula = collections.defaultdict(list)
    for m in good:
        for l in m.formula:
            formula[l["dtype"]].append(l["relative"])
    if formula:
        lines += ["## The formula, computed outside the model", "",
                  f"{sum(map(len, formula.values()))} Float8Linear nodes of {sum(bool(m.formula) for m in good)} models were compared with the formula in numpy, from the input that the "
                  "runtime gave them. Left out are nodes inside subgraphs and models without stored inputs. The largest difference, relative to the largest element of the layer's "
                  "output: " + ", ".join(f"{max(v):.1e} of {len(v)} {dtype}" for dtype, v in sorted(formula.items())) + ". The bound is 1e-4, and for float16 one rounding of the result more.", ""]
    lines += ["## Files that are bad", "", driver.table(("file", "bytes", "expected", "exit", "peak MiB", "error", "result"), bad_rows(models), markdown=True), "",
              f"`expected` is the corpus's own verdict where it has one. `{LINK_OUT}` is its symlink_file with the link that an archive does not keep. "
              f"Memory is the peak resident set; `fp8rewrite version` alone takes {coarse(idle_rss)} MiB, both rounded up to a multiple of 16. A file without an expectation may be refused or converted, but cleanly: ONNX Runtime refuses an unknown external-data key, the onnx package ignores it.", ""]
    lines += ["## Models", "", "`loads` is original/output per runtime, in the order above. `SQNR` is the lowest of the model's float outputs against the stored outputs of the float32 model, in dB, "
              "with dynamic scaling.", "", driver.table(("file", "cw", "rewritten", "kept, by reason, or the error", "loads", "SQNR", "result"), model_rows(good, workers), markdown=True), ""]
    return "\n".join(lines)


def summary(models, workers):
    """One sentence per runtime: what became of the models that it loads."""
    out = []
    for w in workers:
        loaded = [m for m in models if m.loads[w.name]]
        done = [m for m in loaded if m.runs["dynamic"].report]
        some = sum(m.runs["dynamic"].rewritten() > 0 for m in done)
        out.append(f"Of {len(loaded)} models that {w.name} loads, {some} have layers rewritten, {len(done) - some} are left as they are, {len(loaded) - len(done)} are refused; "
                   f"of {sum(len(m.runs) for m in loaded)} outputs it loads {sum(r.loads.get(w.name, False) for m in loaded for r in m.runs.values())}.")
    return out


def count_rows(models, workers):
    out = []
    for folder in [*FOLDERS, "all"]:
        group = [m for m in models if folder in (m.folder, "all")]
        if not group:
            continue
        done = [m for m in group if m.runs["dynamic"].report]
        counted = [m for m in done if m.count and m.count["ok"]]
        loading = sum(ok for m in group for r in m.runs.values() for ok in r.loads.values())
        tried = sum(len(r.loads) for m in group for r in m.runs.values())
        out.append([folder, len(group), *(sum(m.loads[w.name] for m in group) for w in workers), len(done), sum(m.runs["dynamic"].rewritten() > 0 for m in done),
                    sum(len(m.count["rows"]) for m in counted), sum(r["constant"] for m in counted for r in m.count["rows"]),
                    sum(m.runs["dynamic"].rewritten() for m in done), f"{loading} of {tried}", f"{sum(not m.problems for m in group)} of {len(group)}"])
    return out


def sqnr_section(models):
    values = [o["db"] for m in models if m.runs["dynamic"].report and m.runs["dynamic"].rewritten() for o in m.sqnr if o.get("float") and o.get("db") is not None]
    other = collections.Counter(o["state"] for m in models if m.runs["dynamic"].report and m.runs["dynamic"].rewritten()
                                for o in m.sqnr if o.get("float") and o.get("db") is None)
    if not values:
        return []
    lines = ["## SQNR of the outputs with dynamic scaling", "",
             f"{len(values)} float outputs of models with rewritten layers were measured on the stored random inputs (dB):", "",
             driver.table(("min", "lower quartile", "median", "upper quartile", "max"), [[f"{v:.1f}" for v in quartiles(values)]], markdown=True), ""]
    if other:
        lines += ["Not in the distribution: " + ", ".join(f"{n} {state}" for state, n in sorted(other.items())) + ".", ""]
    low = [m for m in models if lowest(m) is not None and lowest(m) < 20 and m.runs["dynamic"].rewritten()]
    if low:
        rows = []
        for m in sorted(low, key=lowest):
            o = min((o for o in m.sqnr if o.get("db") is not None), key=lambda o: o["db"])
            before = o["before"].get("db")
            rows.append([m.name, o["name"], f"{o['db']:.1f}", o["before"].get("state", "-") if before is None else f"{before:.1f}", explanation(m)])
        lines += ["Below 20 dB:", "", driver.table(("file", "output", "dB", "dB of the original in this runtime", "what its figures say"), rows, markdown=True), ""]
    return lines


def coarse(size):
    """MiB rounded up to a multiple of 16, so that the document does not change from run to run."""
    return -(-size // (16 * MIB)) * 16


def bad_rows(models):
    out = []
    for m in models:
        if m.folder != "malformed":
            continue
        run = m.runs["delayed"]
        out.append([m.name, m.bytes, m.expect or "either", run.child.code, coarse(run.child.rss), first_line(m, run), "FAIL" if m.problems else "ok"])
    return out


def convert_all(models, binary, workers, folder, idle_rss):
    for i, m in enumerate(models):
        for recipe, flags in RECIPES.items():
            out = folder / f"{i}-{recipe}"
            run = m.runs[recipe] = Run(*driver.convert(binary, m.path, out, *flags))
            judge_child(m, recipe, run, idle_rss)
            if run.child.code == 0 and run.report is not None:
                if m.folder != "malformed":
                    judge_layers(m, recipe, run, workers[0])
                judge_output(m, recipe, run, workers)
                if recipe == "dynamic" and m.folder != "malformed":
                    measure(m, run, workers[0])
            shutil.rmtree(out)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--corpus", default=os.environ.get("FP8REWRITE_CORPUS") or driver.ROOT.parent / "shared" / "corpus", type=pathlib.Path)
    p.add_argument("--newest", default=driver.ROOT / ".venv-newest" / "bin" / "python", type=pathlib.Path, help="Python with the newest packages")
    p.add_argument("--oldest", default=driver.ROOT / ".venv-121" / "bin" / "python", type=pathlib.Path, help="Python with ONNX Runtime 1.21")
    p.add_argument("--binary", help="fp8rewrite to test; built from this tree if not given")
    p.add_argument("--only", help="take only the files whose path matches this regular expression; writes no document")
    p.add_argument("--no-document", action="store_true", help="leave docs/CORPUS.md as it is")
    args = p.parse_args()
    corpus = args.corpus.resolve()
    if not (corpus / "README.md").exists():
        print(f"SKIPPED: no corpus at {args.corpus} (set FP8REWRITE_CORPUS or --corpus)")
        return
    workers, binary = driver.workers(args.newest, args.oldest), driver.build(args.binary)
    with driver.scratch() as name:
        folder = pathlib.Path(name)
        models = find_models(corpus, args.only)
        if args.only is None:
            models += link_attack(corpus, folder)
        expectations(models, workers)
        idle_rss = driver.Child([binary, "version"]).rss
        convert_all(models, binary, workers, folder, idle_rss)
    for w in workers:
        w.close()
    rest = [m for m in models if m.folder != "malformed"]
    print("\n" + driver.table(("file", "cw", "rewritten", "kept, or the error", "loads", "SQNR", "result"), model_rows(rest, workers)))
    print("\n" + driver.table(("file", "bytes", "expected", "exit", "peak MiB", "error", "result"), bad_rows(models)) + "\n")
    print("\n".join(sqnr_section(rest)))
    if args.only is None and not args.no_document:
        (driver.ROOT / "docs" / "CORPUS.md").write_text(markdown(models, workers, idle_rss))
    for m in models:
        for problem in m.problems:
            print(f"FAIL {m.name}: {problem}")
    print(f"{sum(not m.problems for m in models)} of {len(models)} files as expected")
    sys.exit(any(m.problems for m in models))


main()
