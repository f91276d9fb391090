"""The way to a Kubernetes cluster: whose, which namespace, and what its errors mean to a person.

Everything above the connection is the `kubernetes` package's own API; calls go inside `explained()`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, NotFound, Unavailable

CALL_SECONDS = 10.0
"""Given to one call of the API."""
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the namespace that it is in."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A connection and the namespace to look at."""

    api: Any
    """A `kubernetes.client.ApiClient`."""
    namespace: str


def connect(*, context: str = "", namespace: str = "") -> Cluster:
    """The cluster that the kubeconfig names (`KUBECONFIG`, or `~/.kube/config`), or the one that this process runs in.

    Args:
        context: one of the kubeconfig; empty: its current one.
        namespace: empty: the context's, or the pod's own.

    Raises:
        FailedPrecondition: there is none, no such context, or the `kubernetes` package is missing.
    """
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise FailedPrecondition("the Kubernetes client is not installed: pip install 'emofeedback[deploy]'") from error
    settings = client.Configuration()
    file = os.environ.get("KUBECONFIG") or config.KUBE_CONFIG_DEFAULT_LOCATION
    try:
        contexts, current = config.list_kube_config_contexts(file)
    except config.ConfigException:
        if not context:
            return _around_this_pod(settings, namespace)
        contexts, current = [], None
    try:
        config.load_kube_config(file, context=context or None, client_configuration=settings)
    except config.ConfigException as error:
        raise FailedPrecondition(f"the kubeconfig leads nowhere: {error}") from error
    chosen = next((each for each in contexts if each["name"] == context), current)
    found = (chosen or {}).get("context", {}).get("namespace", "default")
    return Cluster(api=_client(settings), namespace=namespace or found)


def _around_this_pod(settings: Any, namespace: str) -> Cluster:
    from kubernetes import config

    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as error:
        raise FailedPrecondition(
            "there is no cluster to talk to: no kubeconfig, and this is not a pod. Set KUBECONFIG, or let your "
            "cluster's own tool write ~/.kube/config (`kind export kubeconfig`, `minikube update-context`, ...)"
        ) from error
    return Cluster(api=_client(settings), namespace=namespace or _OWN_NAMESPACE.read_text().strip())


def _client(settings: Any) -> Any:
    from kubernetes import client

    settings.retries = False  # who calls, calls again
    return client.ApiClient(settings)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns the client's errors into ours; `what` was being done: "look at the RayServices".

    Raises:
        NotFound: the API knows no such object or kind.
        FailedPrecondition: it refuses, and the message says why.
        Unavailable: it can't be reached, or is overloaded.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise _meaning(error, what) from error
    except HTTPError as error:
        raise Unavailable(f"can't {what}: no Kubernetes API answers ({error})") from error


def _meaning(error: Any, what: str) -> EmoFeedbackError:
    try:
        said = json.loads(error.body)["message"]
    except (LookupError, TypeError, ValueError):
        said = error.reason
    text = f"can't {what}: {said}"
    if error.status == 404:
        return NotFound(text)
    if error.status == 401:
        return FailedPrecondition(f"{text}; the kubeconfig's credentials are not accepted, log in again")
    if error.status == 429 or error.status >= 500:
        return Unavailable(text)
    return FailedPrecondition(text)
