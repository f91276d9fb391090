"""A picture that is signed says so and verifies; one changed bit, and it does not."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import GeneratedImage, GenerationRequest
from emofeedback.domain.png import is_signed
from emofeedback.domain.recipe import Wish, read_recipe, with_recipe, with_whole_recipe
from emofeedback.generator.local import LocalGenerator
from emofeedback.manifests import Signer, read_manifest
from emofeedback.profiles.overrides import load_profile
from support.certificates import Authority
from support.fakes import GENERATOR_MODEL, paint, scripted_recipe
from support.tiny_checkpoints import tiny_sd3_settings

PLAIN = paint("a boat", 3)


@dataclass(frozen=True)
class Files:
    """Of a signer."""

    certificate: Path
    key: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Authority().certify_signer("A Painter")
    found = Files(tmp_path / "certificate.pem", tmp_path / "key.pem")
    found.certificate.write_bytes(made.certificate)
    found.key.write_bytes(made.key)
    return found


def test_a_signed_picture_verifies_and_keeps_its_pixels(files: Files) -> None:
    signed = Signer(str(files.certificate), str(files.key)).sign(PLAIN)
    manifest = read_manifest(signed)
    assert manifest is not None and manifest.verifies and manifest.problems == ()
    assert manifest.signed_by == "A Painter"
    assert Image.open(io.BytesIO(signed)).tobytes() == Image.open(io.BytesIO(PLAIN)).tobytes()
    assert b"trainedAlgorithmicMedia" in signed


def test_a_changed_picture_does_not_verify_and_says_why(files: Files) -> None:
    signed = bytearray(Signer(str(files.certificate), str(files.key)).sign(PLAIN))
    signed[signed.rindex(b"IDAT") + 8] ^= 1
    manifest = read_manifest(bytes(signed))
    assert manifest is not None and manifest.verifies is False
    assert "assertion.dataHash.mismatch" in manifest.problems


def test_most_pictures_have_no_manifest() -> None:
    assert read_manifest(PLAIN) is None


def test_a_signed_picture_is_not_touched_by_who_keeps_it(files: Files) -> None:
    recipe = scripted_recipe(GenerationRequest(prompt="a boat", seeds=(3,)), 3, PLAIN, GENERATOR_MODEL)
    signed = Signer(str(files.certificate), str(files.key)).sign(with_recipe(PLAIN, recipe))
    assert with_whole_recipe(signed, Wish(prompt="a boat", target=AffectPoint(8, 6)), None) == signed
    assert read_recipe(signed) == recipe


def test_without_the_library_a_manifest_is_seen_and_signing_says_what_to_install(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = Signer(str(files.certificate), str(files.key)).sign(PLAIN)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    manifest = read_manifest(signed)
    assert manifest is not None and manifest.verifies is None and "pip install" in manifest.problems[0]
    with pytest.raises(FailedPrecondition, match=r"generator\.c2pa_key: .*pip install 'emofeedback\[c2pa\]'"):
        Signer(str(files.certificate), str(files.key))


def _swap(files: Files) -> None:
    files.key.write_bytes(Authority().certify_signer("Somebody Else").key)


def _for_hosts(files: Files) -> None:
    made = Authority().certify("localhost")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda files: files.key.unlink(), r"generator\.c2pa_key: .* can't be read: No such file"),
        (lambda files: files.key.write_text("a secret"), r"generator\.c2pa_key: is not the PEM of a private key"),
        (lambda files: files.certificate.write_text("nobody"), r"generator\.c2pa_certificate.* do not sign"),
        (_swap, r"do not sign: .*belong to the key"),
        (_for_hosts, r"do not sign: .*document signing"),
    ],
)
def test_what_does_not_sign_is_refused_before_anything_is_loaded(
    files: Files, tiny_sd3: Path, harm: Callable[[Files], object], words: str
) -> None:
    harm(files)
    settings = tiny_sd3_settings(tiny_sd3, c2pa_certificate=str(files.certificate), c2pa_key=str(files.key))
    with pytest.raises(FailedPrecondition, match=words) as refused:
        LocalGenerator.load(settings)
    assert "a secret" not in str(refused.value)


def test_a_key_without_a_certificate_is_refused_by_the_profile() -> None:
    with pytest.raises(InvalidRequest, match=r"generator\.c2pa_key: has no effect without c2pa_certificate"):
        load_profile("nano", ["generator.c2pa_key=key.pem"])


async def test_the_generator_signs_every_picture_where_it_has_a_key(files: Files, tiny_sd3: Path) -> None:
    signing = tiny_sd3_settings(tiny_sd3, c2pa_certificate=str(files.certificate), c2pa_key=str(files.key))
    pictures = []
    for settings in (signing, tiny_sd3_settings(tiny_sd3)):
        generator = LocalGenerator.load(settings)
        try:
            request = GenerationRequest(prompt="a boat", seeds=(1, 2), steps=2)
            events = [event async for event in generator.generate(request)]
        finally:
            generator.close()
        pictures.append([event.data for event in events if isinstance(event, GeneratedImage)])
    signed, plain = pictures
    assert all((found := read_manifest(png)) is not None and found.verifies for png in signed)
    assert not any(map(is_signed, plain))
    assert [read_recipe(png) for png in signed] == [read_recipe(png) for png in plain]
