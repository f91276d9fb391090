"""A training task of your own: prompts to learn from, pairs held out to measure on, and who measures them.

    pip install emofeedback-trainer
    PYTHONPATH=examples emofeedback-train flow-grpo --config nano --set prompts=own_task:TASK --out runs/own
    PYTHONPATH=examples emofeedback-train evaluate policy --task own_task:TASK

Prompts alone need no Python: `--set prompts=examples/prompts.jsonl` holds out an eighth of that file.
"""

from __future__ import annotations

from emofeedback import AffectPoint
from emofeedback_trainer.core.pairs import spread_pairs
from emofeedback_trainer.core.task import Task, TrainingPrompt
from emofeedback_trainer.nano.models.independent_judge import load_independent_judge

LEARNED = ("a house by the lake", "a castle in the mountains", "a boat on the beach", "a car in the city")
HELD_OUT = [("house", "a house in the mountains"), ("boat", "a boat by the lake")]  # what should be seen, the prompt

TASK = Task(
    name="buildings and vehicles",
    training=(
        *(TrainingPrompt(prompt=prompt) for prompt in LEARNED),  # with a target drawn anew each time
        TrainingPrompt(prompt="a tree in the meadow", target=AffectPoint(valence=7, arousal=3)),
    ),
    panel=spread_pairs(HELD_OUT, turn=7),  # watched while the run goes on
    evaluation=spread_pairs(HELD_OUT),  # measured at its end, with other targets
    independent_judge=load_independent_judge,  # never rewards, so it can tell learning from cheating the judge
)
