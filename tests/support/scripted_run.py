"""Stands in for `emofeedback-train`: a process that leaves the files of a run and behaves as its configuration says.

python scripted_run.py flow-grpo --config FILE --out DIR [--resume] [--traceparent CONTEXT]; the file's keys, all
optional: `iterations`, `pace` (seconds an iteration), `stubborn` (ignores Ctrl-C and SIGTERM), `fails_at`, `away` (a
file: it pauses for as long as that exists), `held` (a file: it runs on and does no third iteration for as long as that
exists). What it was told of a trace stands in its last words.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import tomllib
from pathlib import Path

ALARM_AT = 3
HELD_AT = 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--traceparent")
    asked = parser.parse_args()
    config = tomllib.loads(asked.config.read_text())
    folder: Path = asked.out
    checkpoint = folder / "checkpoint"
    if checkpoint.exists() != asked.resume:
        sys.exit("scripted_run: the folder holds a run" if checkpoint.exists() else "scripted_run: nothing to resume")
    checkpoint.mkdir(parents=True, exist_ok=True)
    iterations = config.get("iterations", 3)
    done = len((folder / "metrics.jsonl").read_text().splitlines()) if (folder / "metrics.jsonl").exists() else 0

    def write(name: str, content: object) -> None:
        part = folder / f".{name}.{os.getpid()}"
        part.write_text(json.dumps(content))
        part.replace(folder / name)

    def tell(state: str, message: str = "") -> None:
        status = {"state": state, "iteration": done, "iterations": iterations, "message": message}
        write("status.json", status)

    def add(name: str, **line: object) -> None:
        with (folder / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if config.get("stubborn") else signal.default_int_handler)
    tell("running")
    if not done:
        add("eval.jsonl", iteration=0, error=4.0, alarm="")
    try:
        while done < iterations:
            time.sleep(config.get("pace", 0.02))
            if done == config.get("fails_at"):
                tell("failed", "the judge is another one")
                sys.exit("emofeedback-train: the judge is another one")
            while Path(config.get("away", "/nowhere")).exists():
                tell("paused", "the judge is away")
                time.sleep(0.02)
            while done == HELD_AT and Path(config.get("held", "/nowhere")).exists():
                time.sleep(0.02)
            done += 1
            print(f"iteration {done}", flush=True)
            add("metrics.jsonl", iteration=done, reward=0.1 * done, policy=f"{config['name']}-{done - 1:06d}")
            if done == ALARM_AT:
                add("eval.jsonl", iteration=done, error=4.5, alarm="the reward rises, the panel falls")
            tell("running")
    except KeyboardInterrupt:
        tell("canceled", "stopped; --resume goes on")
        sys.exit(130)
    write("result.json", {"iterations": iterations, "policy": f"{config['name']}-final"})
    tell("finished", "the policy is ready")


main()
