"""`emofeedback-train nano <stage>`: makes the embedded models, stage by stage or all in order, and measures them."""

import argparse
import os
from contextlib import nullcontext
from pathlib import Path

from emofeedback.cli.parsing import examples_of, sentence
from emofeedback.observability.console import say
from emofeedback.storage.files import held
from emofeedback_trainer.nano.dataset import add_dataset

_EXAMPLES = """examples:
  emofeedback-train nano all                        everything in order; run it again to go on where it was cut
  emofeedback-train nano generator --steps 8000     train the generator longer
  torchrun --nproc-per-node 2 --no-python emofeedback-train nano generator --threads 1
                                                    the same in two processes: quicker on two busy cores
  emofeedback-train nano export                     write the trained weights into the packages
  emofeedback-train nano judge-domain               teach the exported judge which pictures are of its world
  emofeedback-train nano evaluate --json            how good are the exported models, on scenes never trained on?
  emofeedback-train nano tokens --limit 200         what do the judge's reasoning tokens hold?
  emofeedback-train nano panel --limit 4            does the loop work? the first four runs of the fixed panel
  emofeedback-train nano page --out runs/page       what do its pictures look like beside drawn ones?
  emofeedback-train nano dataset runs/scenes        a data set of drawn scenes, whose feelings are known
"""
PURPOSES = {
    "world": "a picture of the world: scenes all over the plane",
    "autoencoder": "between pictures and latents",
    "scenes": "the generator's training data as latents",
    "generator": "from captions to latents",
    "decoder": "edges as they are drawn, also of painted latents",
    "critic": "the independent judge, for tables and never for rewards",
    "witness": "who confirms what the emotional memory keeps: a second network, and never the critic",
    "eyes": "the judge's vision",
    "judge": "the vision-language model that assesses and rewrites",
    "scorer": "how well a picture fits a text",
    "export": "write the trained weights into the packages",
    "judge-grpo": "GRPO of the exported judge on drawn scenes",
    "policy": "the default policy, rewarded by the judge and the scorer",
    "fast": "the same in four steps, without guidance",
    "judge-domain": "what the exported judge takes for a picture of its world",
    "judge-latent": "reasoning tokens for the exported judge",
    "judge-certainty": "how sure the exported judge may be; tells the ECE before and after",
    "fuse": "a policy that paints what the exported judge has in mind",
    "memory": "what words do to pictures, for the loop",
    "all": "everything in this order; every stage resumes where it was cut",
    "evaluate": "how good the exported models are, on scenes never trained on",
    "tokens": "what the judge's reasoning tokens are worth, and what they hold",
    "panel": "whether the loop works: a fixed panel of runs",
    "page": "48 painted pictures beside the scenes that they should show, on one page to look at",
}
"""What each stage makes, in the order in which they are made, then all of them; and what can be measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stages and their options on the parser of `emofeedback-train nano`."""
    parser.description = "Make the embedded models of the nano world, measure them, and draw data sets of its scenes."
    parser.epilog = _EXAMPLES
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, default=Path("nano-build"), help="folder of checkpoints and curves")
    common.add_argument("--steps", type=int, help="training steps of this stage, instead of the recipe's")
    common.add_argument("--device", help="torch device (default: cuda where there is one, else cpu)")
    common.add_argument("--threads", type=int, help="CPU threads of torch")
    common.add_argument("--json", action="store_true", help="measurements: print JSON instead of a table")
    common.add_argument("--limit", type=int, help="panel: only so many runs; evaluate, tokens: only so many pictures")
    common.add_argument("--profile", default="nano", help="panel: another profile, by name or as a .toml file")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage, purpose in PURPOSES.items():
        stages.add_parser(
            stage,
            help=purpose,
            description=sentence(purpose),
            epilog=examples_of(f"emofeedback-train nano {stage}", _EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        ).set_defaults(run=run)
    add_dataset(stages)


def run(arguments: argparse.Namespace) -> None:
    """Makes the stage that the arguments name."""
    import torch

    from emofeedback_trainer.nano.stages import MEASUREMENTS, STAGES

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.stage in MEASUREMENTS:
        MEASUREMENTS[arguments.stage](arguments)
        return
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    first = os.environ.get("RANK", "0") == "0"  # torchrun's other processes work in the folder of the first
    with held(arguments.out) if first else nullcontext():
        for stage in STAGES if arguments.stage == "all" else (arguments.stage,):
            say(f"nano: {stage}")
            STAGES[stage](arguments.out, device, arguments.steps)
