"""What the two drivers, models.py and corpus.py, share: virtual environments, workers, one conversion, a table. Standard library only, and small: the
peak memory of a child that Linux reports is never below that of the process that started it."""

import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


class Worker:
    """worker.py under one Python. A worker that dies is started again for the next question."""

    def __init__(self, python):
        self.python, self.process = str(python), None

    def ask(self, do, timeout=300, **job):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [self.python, str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        job = {k: str(v) if isinstance(v, pathlib.Path) else v for k, v in job.items()}
        try:
            self.process.stdin.write(json.dumps({"do": do, **job}) + "\n")
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], timeout)[0]:
                self.process.kill()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"ok": False, "error": f"the Python process ended with status {self.process.wait()} instead of an answer to {do!r}"}
        return json.loads(line)

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


class Child:
    """A finished run of the binary: exit status, both streams, peak resident set in bytes (0 where the system does not tell)."""

    def __init__(self, argv):
        start = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0), err.seek(0)
            self.stdout, self.stderr = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        self.code, self.seconds = process.returncode, time.monotonic() - start
        self.rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def crashed(self):
        return self.code < 0 or "panic:" in self.stderr or "goroutine " in self.stderr


def convert(binary, source, out_dir, *flags):
    """Converts source into out_dir, which is made, and returns the child, the model's path and the report (None where none was written)."""
    out_dir.mkdir(parents=True)
    target, report = out_dir / "model.onnx", out_dir / "report.json"
    child = Child([binary, "convert", source, "-o", target, "--report", report, "--quiet", *flags])
    return child, target, json.loads(report.read_text()) if report.exists() else None


def build(binary):
    """Builds the command for this machine."""
    if binary:
        return pathlib.Path(binary).resolve()
    target = ROOT / "bin" / ("fp8rewrite.exe" if os.name == "nt" else "fp8rewrite")
    subprocess.run(["go", "build", "-o", str(target), "./cmd/fp8rewrite"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    return target


def workers(newest, oldest):
    """The workers to ask, newest first, with their versions. The second may be missing, and then its absence is said aloud."""
    out = []
    for python, needed in ((newest, True), (oldest, False)):
        if not pathlib.Path(python).exists():
            if needed:
                sys.exit(f"interop: no {python}: run `make venvs` first")
            print(f"SKIPPED: ONNX Runtime 1.21 is not installed ({python} is missing): nothing below was checked with it")
            continue
        worker = Worker(python)
        versions = worker.ask("versions")
        if not versions["ok"]:
            sys.exit(f"interop: {python}: {versions['error']}")
        cast = worker.ask("cast")
        if not cast["ok"]:
            sys.exit(f"interop: {python}: {cast['error']}")
        worker.name = f"ORT {versions['onnxruntime']}"
        print(f"{worker.name}, onnx {versions['onnx']}, numpy {versions['numpy']}, Python {versions['python']}")
        out.append(worker)
    return out


def table(header, rows, markdown=False):
    """Aligned text, or a markdown table with the bars inside cells escaped."""
    rows = [[str(c) for c in r] for r in rows]
    if markdown:
        rows = [[c.replace("|", "\\|").replace("\n", " ") for c in r] for r in rows]
        lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])
    widths = [max(len(r[i]) for r in [list(header), *rows]) for i in range(len(header))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in [list(header), ["-" * w for w in widths], *rows])


def scratch():
    """A fresh folder that is removed at the end of the with block."""
    return tempfile.TemporaryDirectory(prefix="fp8rewrite-")
