"""The HTTP door: the images API that everyone's tools speak, the loop as server-sent events, and the studio's page.

It is thin: every route makes a request of `emofeedback.domain`, hands it to an `AsyncServices`, and writes down what
comes back. So it runs alike over engines in its own process and over services at an address.
"""

from emofeedback.http.app import HttpSettings, create_app

__all__ = ["HttpSettings", "create_app"]
