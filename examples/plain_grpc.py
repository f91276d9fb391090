"""A client without this project's code: the messages come from the server, by reflection.

    pip install grpcio grpcio-reflection
    EMOFEEDBACK_TOKEN=secret python examples/plain_grpc.py 127.0.0.1:9000 "a boat on the beach" boat.png

What the SDK does besides: it names the Serve application in each call's metadata, and skips the empty message with
which a stream that fails may end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Token(grpc.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    """Reflection asks for the token as every other call does."""

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(details._replace(metadata=BEARER), requests)


BEARER = (("authorization", f"Bearer {os.environ.get('EMOFEEDBACK_TOKEN', '')}"),)


def main(address: str, prompt: str, path: str) -> None:
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 * 2**20)])
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, Token())))

    def call(application: str, service: str, method: str, **fields: Any) -> Any:
        described = pool.FindServiceByName(f"emofeedback.v1.{service}").methods_by_name[method]
        connect = channel.unary_stream if described.server_streaming else channel.unary_unary
        rpc = connect(
            f"/emofeedback.v1.{service}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        request = GetMessageClass(described.input_type)(**fields)
        return rpc(request, metadata=(*BEARER, ("application", application)))

    for event in call("generator", "GeneratorService", "Generate", prompt=prompt, seeds=[1]):
        if event.WhichOneof("event") == "image":
            Path(path).write_bytes(event.image.data)
    print(call("judge", "JudgeService", "AssessImages", images=[Path(path).read_bytes()]))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:4])
