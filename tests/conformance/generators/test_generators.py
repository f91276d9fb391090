"""What every Generator does, whoever it is: the engine in process, the client of a service, the scripted one."""

import io
from contextlib import aclosing
from typing import Any

import pytest
from PIL import Image

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
    Generator,
    ModelInfo,
)
from support.tiny_checkpoints import tiny_emotion


def ask(**changes: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a dog in the rain", "seeds": (3, 1, 4), **changes})


async def images(generator: Generator, request: GenerationRequest) -> list[GeneratedImage]:
    """In the order of the seeds."""
    painted = [event async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
    return sorted(painted, key=lambda image: image.index)


async def test_first_it_is_queued_then_every_seed_becomes_one_image(generator: Generator) -> None:
    queued, *rest = [event async for event in generator.generate(ask())]
    assert isinstance(queued, GenerationQueued)
    assert (queued.images_ahead, queued.unknown_words, queued.shortened_prompt) == (0, (), "")
    painted = [event for event in rest if isinstance(event, GeneratedImage)]
    assert sorted((image.index, image.seed) for image in painted) == [(0, 3), (1, 1), (2, 4)]
    assert isinstance(rest[-1], GeneratedImage)


async def test_steps_rise_until_the_image_comes(generator: Generator) -> None:
    done: dict[int, int] = {}
    finished: set[int] = set()
    async for event in generator.generate(ask(steps=4)):
        if isinstance(event, GenerationStep):
            assert done.get(event.index, 0) < event.step <= event.steps and event.index not in finished
            done[event.index] = event.step
        elif isinstance(event, GeneratedImage):
            finished.add(event.index)
    assert done and finished == {0, 1, 2}


async def test_images_are_pngs_of_the_size_they_say(generator: Generator) -> None:
    for image in await images(generator, ask()):
        picture = Image.open(io.BytesIO(image.data))
        assert (picture.format, picture.size, picture.mode) == ("PNG", (image.width, image.height), "RGB")


async def test_prompt_and_seed_decide_the_pixels(generator: Generator) -> None:
    three, one, four = await images(generator, ask())
    [again] = await images(generator, ask(seeds=(1,)))
    [other] = await images(generator, ask(seeds=(1,), prompt="a cat"))
    assert again.data == one.data
    assert len({three.data, one.data, four.data, other.data}) == 4


async def test_every_image_names_its_model_and_policy(generator: Generator) -> None:
    model = await generator.model()
    assert model.name and model.digest.startswith("sha256:") and len(model.digest) == 71 and model.policy == ""
    assert [image.model for image in await images(generator, ask())] == [model] * 3
    [adapted] = await images(generator, ask(seeds=(1,), policy="warm"))
    assert (adapted.model.name, adapted.model.digest, adapted.model.policy) == (model.name, model.digest, "warm")


async def test_policies_are_listed_and_others_not_found(generator: Generator) -> None:
    assert list(await generator.policies()) == ["felt", "warm"]
    with pytest.raises(NotFound, match="hot"):
        await images(generator, ask(policy="hot"))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (0, -1)}, "seeds[1]"),
        ({"steps": 0}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"policy": "felt", "emotion": tiny_emotion(variations=9)}, "emotion.states.shape"),
        ({"policy": "felt", "emotion": tiny_emotion(), "emotion_scale": 3.0}, "emotion_scale"),
    ],
)
async def test_a_field_out_of_its_limits_is_named(generator: Generator, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await images(generator, ask(**changes))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_emotion_tokens_are_painted_from_a_variation_an_image(generator: Generator) -> None:
    emotion = tiny_emotion(variations=2)
    first, second, third = await images(generator, ask(seeds=(3, 3, 3), policy="felt", emotion=emotion))
    [unfelt] = await images(generator, ask(seeds=(3,), policy="felt"))
    [less] = await images(generator, ask(seeds=(3,), policy="felt", emotion=emotion, emotion_scale=0.5))
    assert first.data == third.data
    assert len({first.data, second.data, unfelt.data, less.data}) == 4


@pytest.mark.parametrize("policy", ["warm", "felt"])
async def test_emotion_tokens_that_the_policy_has_not_learned_to_read_are_refused(
    generator: Generator, policy: str
) -> None:
    stranger = ModelInfo(name="stranger", digest="sha256:" + "6" * 64)
    with pytest.raises(FailedPrecondition, match=policy):
        await images(generator, ask(policy=policy, emotion=tiny_emotion(judge=stranger)))


async def test_closed_early_it_serves_the_next_call(generator: Generator) -> None:
    async with aclosing(generator.generate(ask(steps=200))) as events:
        assert isinstance(await anext(events), GenerationQueued)
    assert len(await images(generator, ask())) == 3
