"""Every command in the documents can be given: program, options, targets of make, extras and files are there."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module

import pytest

from emofeedback.cli.options import command_parser
from emofeedback_trainer.cli import COMMANDS
from support.documents import ROOT, Block, blocks

FOREIGN = {
    *("cd", "curl", "docker", "export", "git", "grpcurl", "helm", "kill", "kind", "kubectl", "open", "source", "sort"),
    *("pre-commit", "tensorboard", "torchrun", "wait"),
}
"""Programs that we do not check further than the files of ours that they are given."""
OURS = re.compile(r"^(?:docs|examples|helm|protos|services|tests|trainer)/[\w./-]+$")
SHELL = list(blocks("sh"))


def commands(code: str) -> Iterator[list[str]]:
    """The commands of a block, each as its words, without variables set before them."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.wordchars += ":@{}*?[]%!,$#"
        lexer.commenters = ""
        words: list[str] = []
        for word in lexer:
            if word == "#":
                break
            if word in ("|", "&&", ";", "&", "||"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def plain(words: list[str]) -> list[str]:
    """A command without the variables before it and without where its output goes."""
    while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0]):
        words = words[1:]
    cut = next((i for i, word in enumerate(words) if word in (">", "<", ">>")), len(words))
    return words[:cut]


def check_train(arguments: Sequence[str]) -> None:
    module, _ = COMMANDS[arguments[0]]
    parser = argparse.ArgumentParser()
    import_module(module).add_arguments(parser)
    parser.parse_args(arguments[1:])


def check_make(arguments: Sequence[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in arguments if "=" not in word} <= {*targets}


def check_pip(arguments: Sequence[str]) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    ours = {"emofeedback", "emofeedback-nano", "emofeedback-trainer"}
    for word in arguments:
        assert not word.startswith("emofeedback") or word.partition("[")[0] in ours, f"no distribution {word}"
        if found := re.fullmatch(r"(?:emofeedback|\.)\[([\w,]+)\]", word):
            assert {*found[1].split(",")} <= known.keys(), f"no extra of {word}"


def check_python(arguments: Sequence[str]) -> None:
    if arguments[0] == "-m":
        import_module(arguments[1])
    else:
        assert (ROOT / arguments[0]).exists() or (ROOT / "examples" / arguments[0]).exists(), arguments[0]


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_every_command_of_a_shell_block_can_be_given(block: Block) -> None:
    syntax = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True)
    assert syntax.returncode == 0, syntax.stderr
    for words in map(plain, commands(block.code)):
        if not words:
            continue
        for word in words[1:]:
            path = word.rpartition("=")[2]
            assert not OURS.match(path) or any(ROOT.glob(path)), f"{path} is not there"
        program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
        match program:
            case "emofeedback":
                command_parser()[0].parse_args(arguments)
            case "emofeedback-train":
                check_train(arguments)
            case "make":
                check_make(arguments)
            case "pip":
                check_pip(arguments)
            case "python":
                check_python(arguments)
            case _ if (ROOT / program).exists():
                pass
            case _:
                assert program in FOREIGN or (ROOT / program).is_file(), f"unknown program: {shlex.join(words)}"


def test_the_quick_start_is_among_what_is_checked() -> None:
    assert any("emofeedback create" in block.code for block in SHELL)
