"""C2PA: a manifest in a picture that says that a model made it, signed by whoever painted it.

C2PA specification 2.4, by its own library (`c2pa-python`), which is asked for only where a picture is signed or a
manifest read. A manifest holds a hash over the whole file, so a signed picture is never touched again.
"""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.png import SOURCE_TYPE, is_signed

INSTALL = "pip install 'emofeedback[c2pa]'"
_KIND = "image/png"
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},  # the picture is right there
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},  # no request leaves
}
_UNTRUSTED = "signingCredential.untrusted"
_TRIAL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)
"""A picture of one black pixel."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of a picture's manifest."""

    verifies: bool | None
    """Whether the signature and the hash over the file hold; None where the library to say so is not installed."""
    signed_by: str = ""
    """Whom the certificate names: common name and organization. Whether to trust them is the reader's to say."""
    problems: tuple[str, ...] = ()
    """Why it does not verify."""


class Signer:
    """Signs pictures by one key; safe to use from several threads."""

    def __init__(self, certificate: str, key: str) -> None:
        """Reads both files, and signs a picture of one pixel to see that they do.

        Args:
            certificate: PEM file of the certificate and those between it and its authority, in this order.
            key: PEM file of its private key, without a passphrase.

        Raises:
            FailedPrecondition: the library is missing, a file can't be read, or they don't sign; the message names the
                key of the profile.
        """
        self._c2pa = _library("generator.c2pa_key")
        self._lock = threading.Lock()
        chain, private = _file("generator.c2pa_certificate", certificate), _file("generator.c2pa_key", key)
        try:
            self._signer = self._c2pa.Signer.from_info(
                self._c2pa.C2paSignerInfo(alg=_algorithm(private), sign_cert=chain, private_key=private, ta_url=None)
            )
        except self._c2pa.C2paError as error:
            raise _refused(key, error) from error
        self._context = self._c2pa.Context.from_dict(_SETTINGS)
        self._files = f"{certificate} and {key}"
        self.sign(_TRIAL)

    def sign(self, png: bytes) -> bytes:
        """The picture with a manifest: its maker, and that it is the work of a trained model.

        Raises:
            FailedPrecondition: certificate and key don't sign, or no longer do.
        """
        signed = io.BytesIO()
        try:
            with self._lock:
                self._c2pa.Builder(_claim(), self._context).sign(self._signer, _KIND, io.BytesIO(png), signed)
        except self._c2pa.C2paError as error:
            raise _refused(self._files, error) from error
        return signed.getvalue()


def read_manifest(png: bytes) -> Manifest | None:
    """What a picture's manifest says and whether it holds; None where there is none. Asks no other machine."""
    if not is_signed(png):
        return None
    try:
        c2pa = _library("show")
    except FailedPrecondition as error:
        return Manifest(verifies=None, problems=(str(error),))
    try:
        with c2pa.Reader(_KIND, io.BytesIO(png), context=c2pa.Context.from_dict(_SETTINGS)) as reader:
            said = json.loads(reader.json())
    except c2pa.C2paError as error:
        return Manifest(verifies=False, problems=(str(error),))
    signature = said["manifests"][said["active_manifest"]].get("signature_info", {})
    names = (signature.get("common_name"), signature.get("issuer"))
    problems = [status["code"] for status in said.get("validation_status", ()) if status["code"] != _UNTRUSTED]
    return Manifest(
        verifies=said["validation_state"] in ("Valid", "Trusted"),
        signed_by=", ".join(name for name in names if name),
        problems=tuple(problems),
    )


def _claim() -> dict[str, Any]:
    maker = {"name": "EmoFeedback", "version": version("emofeedback")}
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": maker}
    return {
        "claim_generator_info": [maker],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def _library(asked_by: str) -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise FailedPrecondition(f"{asked_by}: c2pa-python is not installed: {INSTALL}") from error
    return c2pa


def _file(key: str, path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise FailedPrecondition(f"{key}: {path} can't be read: {error.strerror}") from error


def _algorithm(private: bytes) -> str:
    """The name of the algorithm that a key is for (RFC 8152's, as C2PA lists them)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private, password=None)
    except (TypeError, ValueError) as error:
        raise FailedPrecondition(
            "generator.c2pa_key: is not the PEM of a private key without a passphrase: openssl pkcs8 -topk8 -nocrypt"
        ) from error
    match key:
        case ec.EllipticCurvePrivateKey(key_size=256 | 384 | 521 as bits):
            return {256: "es256", 384: "es384", 521: "es512"}[bits]
        case rsa.RSAPrivateKey():
            return "ps256"
        case ed25519.Ed25519PrivateKey():
            return "ed25519"
    raise FailedPrecondition("generator.c2pa_key: C2PA signs by ECDSA (P-256, P-384, P-521), RSA or Ed25519 keys only")


def _refused(files: str, error: Exception) -> FailedPrecondition:
    return FailedPrecondition(
        f"generator.c2pa_certificate, generator.c2pa_key: {files} do not sign: {error}. A certificate must be valid "
        "now, allow e-mail protection or document signing by its extended key usage, and belong to the key"
    )
