#!/usr/bin/env python3
"""Regenerates what the corpus of Compose files expects, from the real Docker Compose.

usage: compose-corpus.py [CASE…]     DOCKER_COMPOSE names the program (2.40.3; default: the peers' one)

A case is a file crates/face/compose/corpus/NAME.txtar: sections `-- name --` with files, `args` (flags before `config`), `options`
(flags behind it), and the expectations `want.yaml`, `want.json`, `want.hash`, or `want.error`, which this script writes. The directory
is fixed, because paths are part of the hashes; it is DIR in the expectations.
"""
import os, re, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "crates/face/compose/corpus"
BASE = Path("/tmp/ferry-compose-corpus")
COMPOSE = os.environ.get("DOCKER_COMPOSE", "/tmp/peers/root/usr/libexec/docker/cli-plugins/docker-compose")
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/root"}


def sections(text):
    parts = re.split(r"(?m)^-- (.+) --\n", text)
    return list(zip(parts[1::2], parts[2::2]))


def run(directory, args):
    return subprocess.run([COMPOSE, *args], cwd=directory, env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def regenerate(path):
    parts = [(name, text) for name, text in sections(path.read_text()) if not name.startswith("want.")]
    directory = BASE / path.stem
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, text in parts:
        if name not in ("args", "options"):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
    words = {name: text.split() for name, text in parts}
    args, options = words.get("args", []), words.get("options", [])
    mask = lambda text: text.replace(str(directory), "DIR")
    shown = run(directory, [*args, "config", *options])
    if shown.returncode:
        lines = [line for line in shown.stderr.splitlines() if not line.startswith("time=")]
        parts.append(("want.error", mask("\n".join(lines)) + "\n"))
    else:
        end = lambda text: text if text.endswith("\n") else text + "\n"
        parts.append(("want.yaml", mask(end(shown.stdout))))
        if not options:
            as_json = run(directory, [*args, "config", "--format", "json"])
            if as_json.returncode == 0:
                parts.append(("want.json", mask(end(as_json.stdout))))
            parts.append(("want.hash", end(run(directory, [*args, "config", "--hash", "*"]).stdout)))
    path.write_text("".join(f"-- {name} --\n{text}" for name, text in parts))
    shutil.rmtree(directory)


for case in sorted(ROOT.glob("*.txtar")):
    if len(sys.argv) < 2 or case.stem in sys.argv[1:]:
        regenerate(case)
