"""`emofeedback show` and `emofeedback reproduce`: what a picture says of itself, and the same pixels again."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from emofeedback.backends import Engines
from emofeedback.cli.display import loading
from emofeedback.client.aio import AsyncServices
from emofeedback.domain.affect import target_phrase
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import GeneratedImage, GenerationRequest
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.domain.reasoning import EmotionTokens, Imagination
from emofeedback.domain.recipe import PictureRecipe, ReadEmotion, read_recipe
from emofeedback.manifests import Manifest, read_manifest
from emofeedback.observability.consoles import Consoles
from emofeedback.storage.files import write_whole


def show(path: Path, consoles: Consoles) -> None:
    """Prints the recipe that a picture carries and whether its C2PA manifest verifies, for programs as JSON.

    Raises:
        InvalidRequest: there is no such file, or it carries no recipe that can be read.
    """
    data = _read(path)
    recipe, manifest = _recipe_in(path, data), read_manifest(data)
    if consoles.for_programs:
        said = {**dataclasses.asdict(recipe), "manifest": manifest and dataclasses.asdict(manifest)}
        consoles.say(json.dumps(said, ensure_ascii=False))
        return
    table = Table(box=SIMPLE, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in [*_lines(recipe), ("manifest", _verdict(manifest))]:
        table.add_row(name, value)
    consoles.out.print(table)


def reproduce(path: Path, *, out: Path | None, engines: Engines, consoles: Consoles) -> None:
    """Paints the same pixels again from a picture's recipe alone.

    Args:
        out: where the picture goes; None: beside the first, as `NAME-again.png`.

    Raises:
        InvalidRequest: the picture carries no recipe.
        NotFound: its policy is not in the profile's store, before any model is loaded.
        FailedPrecondition: the generator is another one, or the judge whose imagination was painted, the policy has
            changed, or other pixels came out; the digest that is missing is named.
    """
    recipe = _recipe_in(path, _read(path))
    engines.check_policy(recipe.generator.policy or BASE_POLICY)
    out = out or path.with_name(f"{path.stem}-again.png")
    with loading(consoles, engines.profile):
        opened = engines.services()

    async def paint() -> GeneratedImage:
        async with opened as services:
            return await painted_again(recipe, services)

    image = asyncio.run(paint())
    write_whole(out, image.data)
    consoles.say(f"The same pixels ({recipe.pixels}): {out}")


async def painted_again(recipe: PictureRecipe, services: AsyncServices) -> GeneratedImage:
    """The picture of a recipe, painted by these services; raises as `reproduce`."""
    wanted = recipe.generator
    have = await services.generator.model()
    if have.digest != wanted.digest:
        raise FailedPrecondition(
            f"the picture was painted by {wanted.name} ({wanted.digest}), this generator is {have.name} ({have.digest})"
        )
    request = GenerationRequest(
        prompt=recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        seeds=(recipe.seed,),
        steps=recipe.steps,
        guidance=recipe.guidance,
        policy=wanted.policy or BASE_POLICY,
        emotion=await _imagined_again(recipe, recipe.emotion, services) if recipe.emotion else None,
        emotion_scale=recipe.emotion.scale if recipe.emotion else 1.0,
    )
    images = [event async for event in services.generator.generate(request) if isinstance(event, GeneratedImage)]
    again = read_recipe(images[0].data)
    if again is None:
        raise FailedPrecondition("the generator writes no recipes, so its pixels can't be compared: generator.recipes")
    for name in ("policy_digest", "width", "height", "pixels"):
        before, now = getattr(recipe, name), getattr(again, name)
        if before != now:
            why = "; another kind of CPU or a GPU rounds differently" if name == "pixels" else ""
            raise FailedPrecondition(
                f"the picture's {name} is {before or 'none'}, painted again it is {now or 'none'}{why}"
            )
    return images[0]


async def _imagined_again(recipe: PictureRecipe, read: ReadEmotion, services: AsyncServices) -> EmotionTokens:
    """What a picture was painted from besides its prompt: that variation of what the judge imagines of its wish."""
    have = await services.judge.model()
    if have.digest != read.judge.digest:
        raise FailedPrecondition(
            f"the picture was imagined by {read.judge.name} ({read.judge.digest}), "
            f"this judge is {have.name} ({have.digest})"
        )
    if recipe.wish is None:
        raise FailedPrecondition(
            f"the picture was painted from emotion tokens ({read.digest}), and it does not say what was wished for"
        )
    target = recipe.wish.target
    prompt = recipe.prompt.removesuffix(f", {target_phrase(target)}")  # which the loop writes behind, for some models
    imagined = await services.judge.reason(Imagination(prompt=prompt, target=target))
    for number in range(imagined.variations):
        if (variation := imagined.chosen([number])).digest == read.digest:
            return variation
    raise FailedPrecondition(
        f"the picture was painted from the emotion tokens {read.digest}, which the judge does not imagine of its wish: "
        "they were of something else, or another machine's rounding"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest.of("picture", f"{path} can't be read: {error.strerror}") from error


def _recipe_in(path: Path, data: bytes) -> PictureRecipe:
    recipe = read_recipe(data, field=str(path))
    if recipe is None:
        raise InvalidRequest.of("picture", f"{path} carries no recipe, as a PNG that EmoFeedback wrote does")
    return recipe


def _lines(recipe: PictureRecipe) -> list[tuple[str, str]]:
    model, wish, reading = recipe.generator, recipe.wish, recipe.reading
    policy = f"{model.policy} ({recipe.policy_digest})" if model.policy else "base weights"
    lines = [("prompt", recipe.prompt)]
    if recipe.negative_prompt:
        lines.append(("not", recipe.negative_prompt))
    if wish:
        target = wish.target
        third = "" if wish.dominance is None else f", dominance {wish.dominance:g}"
        lines.append(("wished for", f"{wish.prompt}: valence {target.valence:g}, arousal {target.arousal:g}{third}"))
    if recipe.emotion:
        read = recipe.emotion
        lines.append(("imagined", f"by {read.judge.name} ({read.judge.digest}), with weight {read.scale:g}"))
    if reading:
        valence = f"valence {reading.valence:.2f}{_between(reading.valence_interval)}"
        felt = f"{valence}, arousal {reading.arousal:.2f}{_between(reading.arousal_interval)}"
        if reading.dominance is not None:
            felt += f", dominance {reading.dominance:.2f}{_between(reading.dominance_interval)}"
        lines.append(("judge read", f"{felt}, {reading.emotion} {reading.confidence:.0%}"))
        if reading.domain_score is not None:
            lines.append(("surprise", f"{reading.domain_score:.2f} bits"))
        lines.append(("read by", f"{reading.judge.name} ({reading.judge.digest})"))
    return [
        *lines,
        ("painted", f"seed {recipe.seed}, {recipe.steps} steps, guidance {recipe.guidance:g}"),
        ("size", f"{recipe.width} x {recipe.height}"),
        ("generator", f"{model.name} ({model.digest})"),
        ("policy", policy),
        ("pixels", recipe.pixels),
        ("version", f"emofeedback {recipe.version}"),
    ]


def _verdict(manifest: Manifest | None) -> str:
    """What a C2PA manifest comes to, in a line."""
    if manifest is None:
        return "none"
    problems = ", ".join(manifest.problems)
    if manifest.verifies is None:
        return f"there is one, unverified: {problems}"
    signed = f", signed by {manifest.signed_by}" if manifest.signed_by else ""
    return f"verifies{signed}" if manifest.verifies else f"DOES NOT VERIFY{signed}: {problems}"


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"
