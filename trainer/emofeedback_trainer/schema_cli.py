"""`emofeedback-train schema`: what a configuration file may say, for an editor that checks TOML."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from emofeedback.observability.console import say
from emofeedback.profiles.overrides import schema
from emofeedback_trainer.distillation.config import CONFIGS as DISTILLATIONS
from emofeedback_trainer.flow_grpo.config import CONFIGS
from emofeedback_trainer.fusion.config import CONFIGS as FUSIONS
from emofeedback_trainer.judge.config import GRPO_CONFIGS, SFT_CONFIGS
from emofeedback_trainer.latent.config import CONFIGS as TOKENS

_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "flow-grpo": CONFIGS,
    "distill-steps": DISTILLATIONS,
    "fuse": FUSIONS,
    "judge-sft": SFT_CONFIGS,
    "judge-grpo": GRPO_CONFIGS,
    "judge-latent": TOKENS,
}

_EXAMPLES = """examples:
  emofeedback-train schema flow-grpo > flow-grpo.schema.json
  emofeedback-train schema judge-sft > judge-sft.schema.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train schema`."""
    parser.description = "Print the JSON Schema of a training command's configuration files."
    parser.epilog = _EXAMPLES
    parser.add_argument("training", choices=_CONFIGS, help="the command that reads the file")
    parser.set_defaults(run=lambda arguments: say(json.dumps(schema(_CONFIGS[arguments.training]), indent=2)))
