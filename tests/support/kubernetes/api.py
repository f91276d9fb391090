"""A Kubernetes API server in memory, for the tests of what talks to a cluster: real clients, real HTTP, no controllers.

It knows the kinds in `store.KINDS`, with discovery, and answers GET, LIST, WATCH, POST, PUT, PATCH (JSON, merge
and server-side apply; a strategic merge replaces lists) and DELETE (finalizers are waited for), with labels and names
as selectors. Nothing is validated, and protobuf is refused (which Helm 4 sends for its own secrets: HELM_DRIVER=memory
in its environment spares it them). What an operator or a scheduler would do, the test does: `put`, `set_status`,
`remove`.

    with kube_api() as api:
        api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-1"}})
        subprocess.run(["helm", "install", "x", "chart"], env={"KUBECONFIG": str(api.kubeconfig(tmp_path))})
        api.objects("RayService"), api.requests
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from support.kubernetes.store import (
    KINDS,
    Kind,
    KubeApi,
    Manifest,
    Refused,
    Request,
    is_labelled,
    is_named,
    json_patched,
    merged,
    parted,
)

_PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<version>[^/]+/[^/]+))(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>status|scale|log))?$"
)
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_VERSION = {"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "0", "gitTreeState": "clean"}
_VERSION |= {"buildDate": "2025-04-23T13:40:11Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64"}
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_PATIENCE = 0.2
"""Seconds between two looks of a watch at whether the server still stands."""


@contextmanager
def kube_api(kinds: tuple[Kind, ...] = KINDS) -> Iterator[KubeApi]:
    """The server on a free port of loopback, for as long as the context lasts."""
    api = KubeApi(kinds)
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield api
    finally:
        api.closed = True
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    api: KubeApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the requests are kept."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content_type = (self.headers.get("Content-Type") or "").partition(";")[0]
        body = yaml.safe_load(text) if text and content_type != _PROTOBUF else None
        request = Request(
            method=self.command, path=url.path, query=dict(parse_qsl(url.query)), content_type=content_type, body=body
        )
        self.api.requests.append(request)
        try:
            if self.api.down:
                raise Refused(503, "ServiceUnavailable", self.api.down)
            if content_type == _PROTOBUF:  # clients then send JSON
                raise Refused(415, "UnsupportedMediaType", "only JSON and YAML are understood")
            self._answer(*(self._discovered(url.path) or self._stored(request)))
        except Refused as refused:
            status = {"reason": refused.reason, "message": str(refused), "code": refused.code, "status": "Failure"}
            self._answer(refused.code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, **status})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, code: int, content: Any) -> None:
        if content is None:  # a watch has answered already
            return
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _discovered(self, path: str) -> tuple[int, Any] | None:
        versions = sorted({kind.api_version for kind in self.api.kinds.values() if kind.group})
        if path.rstrip("/") == "/version":
            return 200, _VERSION
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in versions]}
        if path == "/openapi/v2":  # asked for as a protobuf, of which this is the empty one: nothing is validated
            return 200, ""
        version = path.removeprefix("/apis/").removeprefix("/api/")
        kinds = [kind for kind in self.api.kinds.values() if kind.api_version == version]
        if not kinds:
            return None
        return 200, {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [
                {
                    "name": kind.plural,
                    "singularName": kind.name.lower(),
                    "namespaced": kind.namespaced,
                    "kind": kind.name,
                    "verbs": _VERBS,
                }
                for kind in kinds
            ],
        }

    def _stored(self, request: Request) -> tuple[int, Any]:
        place = _PATH.match(request.path)
        kind = place and next(
            (
                kind
                for kind in self.api.kinds.values()
                if kind.plural == place["plural"] and kind.api_version == (place["core"] or place["version"])
            ),
            None,
        )
        if not (place and kind):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        namespace, name = place["namespace"] or ("" if not place["name"] else "default"), place["name"]
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(request.method)
        verb = verb or ("get" if name else "list")
        if (verb, kind.plural) in self.api.forbidden:
            raise Refused(403, "Forbidden", f"{kind.plural} is forbidden: User cannot {verb} resource {kind.plural!r}")
        match request.method:
            case "GET" if place["part"] == "log":
                self.api.find(kind.name, name, namespace)
                return 200, self.api.logs.get(name, "")
            case "GET" if name and "watch" not in request.query:
                return 200, self.api.find(kind.name, name, namespace)
            case "GET" if request.query.get("watch") in ("true", "1"):
                self._watch(kind, namespace, name, request.query)
                return 200, None
            case "GET":
                return 200, self._list(kind, namespace, request.query)
            case "POST":
                return 201, self._create(kind, namespace, request)
            case "PUT":
                found = self.api.find(kind.name, name, namespace)
                return 200, self._kept(parted(found, request.body, place["part"]), kind, namespace, request)
            case "PATCH":
                return 200, self._patch(kind, namespace, name, place["part"], request)
            case "DELETE" if name:
                return 200, self.api.remove(kind.name, name, namespace)
            case _:
                gone = [
                    self.api.remove(kind.name, item["metadata"]["name"], namespace)
                    for item in self._found(kind, namespace, request.query)
                ]
                return 200, {"kind": f"{kind.name}List", "apiVersion": kind.api_version, "items": gone}

    def _found(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> list[Manifest]:
        found = self.api.objects(kind.name, namespace, query.get("labelSelector", ""))
        return [item for item in found if is_named(item, query.get("fieldSelector", ""))]

    def _list(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> Manifest:
        return {
            "kind": f"{kind.name}List",
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(self.api.revision)},
            "items": self._found(kind, namespace, query),
        }

    def _create(self, kind: Kind, namespace: str, request: Request) -> Manifest:
        body: Manifest = request.body
        body.setdefault("apiVersion", kind.api_version)
        body.setdefault("kind", kind.name)
        if kind.name == "SelfSubjectAccessReview":
            asked = body["spec"]["resourceAttributes"]
            allowed = (asked["verb"], asked["resource"]) not in self.api.forbidden
            return {**body, "status": {"allowed": allowed}}
        if name := body["metadata"].get("name"):
            try:
                self.api.find(kind.name, name, namespace)
            except Refused:
                pass
            else:
                raise Refused(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        return self._kept(body, kind, namespace, request)

    def _patch(self, kind: Kind, namespace: str, name: str, part: str | None, request: Request) -> Manifest:
        is_applied = request.content_type == "application/apply-patch+yaml"
        try:
            found = self.api.find(kind.name, name, namespace)
        except Refused:
            if not is_applied:
                raise
            return self._kept(request.body, kind, namespace, request)
        if request.content_type == "application/json-patch+json":
            patched = json_patched(found, request.body)
        else:
            patched = merged(found, request.body)
        return self._kept(parted(found, patched, part), kind, namespace, request)

    def _kept(self, item: Manifest, kind: Kind, namespace: str, request: Request) -> Manifest:
        if kind.namespaced:
            item["metadata"]["namespace"] = namespace or "default"
        return item if request.query.get("dryRun") else self.api.put(item)

    def _watch(self, kind: Kind, namespace: str, name: str | None, query: Mapping[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        selector = f"metadata.name={name}" if name else query.get("fieldSelector", "")
        asked = query.get("resourceVersion", "")
        seen = self.api.revision if asked in ("", "0") or query.get("sendInitialEvents") == "true" else int(asked)
        if asked in ("", "0") or query.get("sendInitialEvents") == "true":
            for item in self._found(kind, namespace, {**query, "fieldSelector": selector}):
                self._chunk("ADDED", item)
        if query.get("sendInitialEvents") == "true":
            meta = {"resourceVersion": str(seen), "annotations": {"k8s.io/initial-events-end": "true"}}
            self._chunk("BOOKMARK", {"kind": kind.name, "apiVersion": kind.api_version, "metadata": meta})
        end = time.monotonic() + float(query.get("timeoutSeconds", 3600))
        while not self.api.closed and time.monotonic() < end:
            for revision, what, item in self.api.wait_since(seen, _PATIENCE):
                seen = revision
                place = item["metadata"].get("namespace", "")
                is_theirs = item["kind"] == kind.name and namespace in ("", place) and is_named(item, selector)
                if is_theirs and is_labelled(item, query.get("labelSelector", "")):
                    self._chunk(what, item)
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, what: str, item: Manifest) -> None:
        line = json.dumps({"type": what, "object": item}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


def _group(api_version: str) -> Manifest:
    group, _, version = api_version.partition("/")
    versions = [{"groupVersion": api_version, "version": version}]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}
