"""What HTTP costs over gRPC: `.venv/bin/python tests/benchmarks/doors.py`.

The same picture of a scripted generator, by the SDK over gRPC, and by HTTP through the application that asks the same
services over gRPC, as it does on Ray Serve. Calls take turns, so a busy machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx2

from emofeedback import AsyncClient, GenerationRequest
from support.http_door import open_door
from support.scripted_services import Services, collect, serving

_WARM_UP = 20


async def measured(calls: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, over gRPC and over HTTP."""
    by_grpc, by_http = [], []
    async with serving(Services()) as services, AsyncClient(services.address) as client:
        with open_door(AsyncClient(services.address), calls_per_minute=1e9) as door:
            async with httpx2.AsyncClient() as web:
                for seed in range(calls + _WARM_UP):
                    began = time.perf_counter()
                    await collect(client.generator.generate(GenerationRequest(prompt="a harbor", seeds=(seed,))))
                    by_grpc.append((time.perf_counter() - began) * 1e3)
                    began = time.perf_counter()
                    body = {"prompt": "a harbor", "seed": seed}
                    (await web.post(f"{door}/v1/images/generations", json=body)).raise_for_status()
                    by_http.append((time.perf_counter() - began) * 1e3)
    return by_grpc[_WARM_UP:], by_http[_WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300, help="of each (default %(default)s)")
    by_grpc, by_http = asyncio.run(measured(parser.parse_args().calls))
    grpc, http = statistics.median(by_grpc), statistics.median(by_http)
    print("| one picture, p50 in ms | gRPC | HTTP, which asks over gRPC | overhead |\n|---|---|---|---|")
    print(f"| {len(by_grpc)} calls each, taking turns | {grpc:.1f} | {http:.1f} | {http - grpc:.1f} |")


if __name__ == "__main__":
    main()
