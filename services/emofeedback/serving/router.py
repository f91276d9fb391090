"""Which replica answers a call: one that comes again with the same `request_id` meets what was begun for it.

Serve's proxy names the id as the call's session (`rpc.proxy`). A call without one goes to the less busy of two
replicas, as Serve's own do.
"""

import random
from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter


class RequestIdRouter(ConsistentHashRouter):  # type: ignore[misc]
    """Serve's consistent hashing where a call has an id: replicas that come or go move only the calls of their own.

    A call waits for its replica, also where another has nothing to do: elsewhere its work would be done a second time.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        """Serve's own, without replicas to fall back to."""
        super().initialize_state(**kwargs | {"num_fallback_replicas": 0})

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """Groups of replicas, to be tried in this order."""
        if pending_request is not None and pending_request.metadata.session_id:
            groups: list[list[Any]] = await super().choose_replicas(candidate_replicas, pending_request)
            return groups
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
        return [random.sample(candidate_replicas, min(2, len(candidate_replicas)))]
