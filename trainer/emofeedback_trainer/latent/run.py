"""One training of reasoning tokens in a folder.

config.toml        the effective configuration
start.json         the digest of the judge that the run began with
pictures/          what the lessons' source keeps, where it draws any
training/          the last checkpoint and a line of the curve every tenth step
judge/             the trained judge, whole: a checkpoint that a profile can name
result.json        what came of it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen2VLImageProcessorPil

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.judge.engines.base import fetch_checkpoint
from emofeedback.profiles.overrides import to_toml
from emofeedback.storage.checkpoints import check_device, digest
from emofeedback.storage.files import held, write_json, write_whole
from emofeedback.storage.texts import parse_json
from emofeedback_trainer.core.dotted import imported
from emofeedback_trainer.core.run_files import CONFIG, RESULT, read_result, require_unchanged
from emofeedback_trainer.core.training_state import TrainingState, cosine, set_rates
from emofeedback_trainer.latent.collation import Collator
from emofeedback_trainer.latent.config import MAY_CHANGE, LatentConfig, load_config
from emofeedback_trainer.latent.lessons import Lessons, Look
from emofeedback_trainer.latent.objective import EMOTIONS, best_of, divergence, expected_reward, reply_losses
from emofeedback_trainer.latent.samples import SampleLessons
from emofeedback_trainer.latent.sequences import UNLABELED, Batch, Scored, Sequences, additive, batch_of, positions
from emofeedback_trainer.latent.tokens import Learned, control_tokens, export, load_learner, load_tokenizer

JUDGE, START = "judge", "start.json"


@dataclass(frozen=True, kw_only=True)
class LatentResult:
    """What a training leaves."""

    checkpoint: Path
    digest: str
    steps: int


class Learner:
    """The judge that learns, and its losses."""

    def __init__(self, config: LatentConfig, source: Path) -> None:
        self.config = config
        self.source = source
        names = control_tokens(config.tokens, config.variations)
        self.tokenizer, new = load_tokenizer(source, names)
        own = self.tokenizer.convert_tokens_to_ids(names)
        if config.reward and new:
            raise InvalidRequest.of(
                "reward", f"needs a judge that has learned the tokens, {source} hasn't; set it to 0"
            )
        self.model = load_learner(config.model, source, own, new, config.seed)
        self.collate = Collator(
            self.tokenizer,
            Qwen2VLImageProcessorPil.from_pretrained(source, max_pixels=config.model.max_pixels),
            reasons=config.tokens,
            variations=config.variations,
        )
        self._known = min(own)
        self._device = torch.device(config.model.device)

    def backward(self, lessons: Lessons, rng: np.random.Generator) -> dict[str, float]:
        """One step's gradient, kind by kind; what each loss was."""
        values: dict[str, float] = {}
        for kind in (self._look, self._imagine, self._keep):
            with torch.autocast(self._device.type, torch.bfloat16):
                losses = kind(lessons, rng)
            torch.autograd.backward(losses.pop("total"))
            values |= {name: loss.item() for name, loss in losses.items()}
        return values

    def _look(self, lessons: Lessons, rng: np.random.Generator) -> dict[str, Tensor]:
        config = self.config
        hidden = rng.random(config.looks) < config.hidden
        drawn = lessons.looks(config.looks, rng)
        rows = [self.collate.look(lesson, hidden=bool(h)) for lesson, h in zip(drawn, hidden, strict=True)]
        batch, logits = self.read(rows)
        answers, thoughts = self._reply_losses(batch, logits).view(-1, 2).unbind(dim=1)
        mask = torch.from_numpy(hidden).to(answers.device)
        values = {
            "total": answers.mean() + config.thought * thoughts.mean(),
            "look_thought": thoughts.mean(),
        }
        for name, some in (("look", ~mask), ("look_hidden", mask)):
            if some.any():
                values[name] = answers[some].mean()
        if config.reward:
            values["reward"] = self._reward(batch, logits, drawn)
            values["total"] = values["total"] + config.reward * (1 - values["reward"])
        return values

    def _imagine(self, lessons: Lessons, rng: np.random.Generator) -> dict[str, Tensor]:
        config = self.config
        drawn = lessons.imaginations(config.imaginations, rng)
        rows = [self.collate.imagine(lesson) for lesson in drawn]
        answers, thoughts = self._replies(rows).view(len(rows), config.variations, 2).unbind(dim=2)
        told = all(len(lesson.ways) == config.variations for lesson in drawn)
        thought = thoughts.mean() if told else best_of(thoughts, config.best)
        return {
            "total": 0.5 * answers.mean() + thought,
            "imagine": answers.mean(),
            "imagine_thought": thought,
        }

    def _keep(self, lessons: Lessons, rng: np.random.Generator) -> dict[str, Tensor]:
        rows = [self.collate.known(lesson) for lesson in lessons.known(self.config.known, rng)]
        batch, logits = self.read(rows)
        with torch.no_grad(), self.model.disable_adapter():
            _, reference = self.read(rows)
        said = self._reply_losses(batch, logits).mean()
        held = batch.held[batch.labels != UNLABELED].to(logits.device)
        away = divergence(logits[held], reference[held][:, : self._known])
        return {"total": 0.5 * said + self.config.divergence * away, "known": said, "divergence": away}

    def _reward(self, batch: Batch, logits: Tensor, lessons: Sequence[Look]) -> Tensor:
        """The mean reward that the answers may expect."""
        scored = batch.scored[batch.labels != UNLABELED].to(logits.device)
        digits, words = self.collate.digits, self.collate.emotions
        points = torch.tensor([[one.rating.point.valence, one.rating.point.arousal] for one in lessons])
        felt = torch.tensor([EMOTIONS.index(one.rating.emotion) for one in lessons])
        return expected_reward(
            logits[scored == Scored.VALENCE][:, digits].float().softmax(dim=-1),
            logits[scored == Scored.AROUSAL][:, digits].float().softmax(dim=-1),
            logits[scored == Scored.EMOTION][:, words].float().softmax(dim=-1),
            points.to(logits.device),
            felt.to(logits.device),
        ).mean()

    def _replies(self, rows: Sequence[Sequences]) -> Tensor:
        """The loss of every reply, row by row."""
        return self._reply_losses(*self.read(rows))

    def _reply_losses(self, batch: Batch, logits: Tensor) -> Tensor:
        place = batch.labels != UNLABELED
        parts = (batch.labels, batch.neighbors, batch.shares, batch.replies)
        labels, neighbors, shares, replies = (part[place].to(logits.device) for part in parts)
        return reply_losses(logits, labels, neighbors, shares, replies, batch.count)

    def read(self, rows: Sequence[Sequences]) -> tuple[Batch, Tensor]:
        """The rows' batch, and the logits of its labelled places."""
        model = self.model.get_base_model()
        batch = batch_of(rows, self.config.tokens, self.tokenizer.pad_token_id)
        seen = self.collate.seen([picture for row in rows for picture in row.pictures])
        image_token = model.config.image_token_id
        placed = positions(model.model, batch, seen[1] if seen else None, image_token)
        pictures = {}
        if seen:
            pictures = {
                "pixel_values": seen[0].to(self._device, model.dtype),
                "image_grid_thw": seen[1].to(self._device),
            }
        hidden = model.model(
            input_ids=batch.ids.to(self._device),
            attention_mask=additive(batch.visible.to(self._device), torch.bfloat16),
            position_ids=placed.to(self._device),
            use_cache=False,
            **pictures,
        ).last_hidden_state
        return batch, model.lm_head(hidden[(batch.labels != UNLABELED).to(self._device)])


def load_lessons(config: LatentConfig, folder: Path) -> Lessons:
    """The configuration's source of lessons.

    Args:
        folder: where the source may keep what it draws.

    Raises:
        InvalidRequest: there is no such source, or it has no lessons.
    """
    module, dotted, _ = config.lessons.partition(":")
    if not dotted or "/" in module:
        return SampleLessons(Path(config.lessons))
    made: Lessons = imported(config.lessons, "lessons")(folder, config.variations)
    return made


def train(config: LatentConfig, folder: Path) -> LatentResult:
    """Trains to the end, going on from the folder's checkpoint, and exports; a run that is over stays as it is.

    Raises:
        InvalidRequest: there are no such lessons, or the run in the folder was begun with another configuration.
        FailedPrecondition: the checkpoint or the device can't be had, the run was begun with another one, or another
            process works in the folder.
    """
    check_device(config.model.device, "model.device")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        if made := read_result(folder):
            return LatentResult(checkpoint=folder / JUDGE, digest=str(made["digest"]), steps=int(made["steps"]))
        source = fetch_checkpoint(config.model.checkpoint)
        _begin(config, folder, digest(source))
        lessons = load_lessons(config, folder)
        learner = Learner(config, source)
        learned = Learned(learner.model)
        optimizer = torch.optim.AdamW(
            learned.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        state = TrainingState(
            folder / "training", {"learned": learned}, {"optimizer": optimizer}, ema_decay=config.ema_decay
        )
        for step in range(state.resume(), config.steps):
            set_rates([optimizer], cosine(step, config.steps, peak=1.0, floor=0.03, warmup=config.warmup))
            optimizer.zero_grad()
            losses = learner.backward(lessons, np.random.default_rng((config.seed, step)))
            nn.utils.clip_grad_norm_(learned.parameters(), 1.0)
            optimizer.step()
            state.average()
            if step % 10 == 0:
                state.log(**{name: round(value, 4) for name, value in losses.items()})
            if step % config.save_every == config.save_every - 1 or step == config.steps - 1:
                state.save()
        learned.load_state_dict(state.ema["learned"])
        export(learner.model, learner.tokenizer, source, folder / JUDGE)
        result = LatentResult(checkpoint=folder / JUDGE, digest=digest(folder / JUDGE), steps=config.steps)
        write_json(folder / RESULT, {"digest": result.digest, "steps": result.steps})
        return result


def _begin(config: LatentConfig, folder: Path, start: str) -> None:
    """Writes what the run is begun with, or sees to it that it goes on with the same."""
    if (folder / CONFIG).exists():
        require_unchanged(load_config(str(folder / CONFIG), {}), config, MAY_CHANGE)
        begun = parse_json((folder / START).read_text(encoding="utf-8"))["digest"]
        if begun != start:
            problem = f"the run in {folder} was begun with the checkpoint {begun}, {config.model.checkpoint} is {start}"
            raise FailedPrecondition(f"{problem}: name another folder, or put the former checkpoint back")
    write_json(folder / START, {"digest": start})
    write_whole(folder / CONFIG, to_toml(config).encode())
