"""Replicas and autoscaling with Ray Serve: ``serve run deploy.ray_serve:application``.

Each replica is a whole server with its own models; the sessions of a replica are those that its
ingress was given. Needs ``pip install "ray[serve]"``. Ray costs about a gigabyte and 15 seconds of
start; without a need for its autoscaler, processes behind nginx do the same.
"""

import os

from fastapi import FastAPI
from ray import serve  # pyright: ignore[reportMissingImports]

from voiceglm.pretrained import load_chat
from web.asgi import routes
from web.gate import Gate
from web.server import Host, ServerOptions

MODEL = os.environ.get("VOICEGLM_MODEL", "nano")
KEYS = tuple(os.environ.get("VOICEGLM_API_KEYS", "").split())
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@serve.deployment(autoscaling_config={"min_replicas": 1, "max_replicas": 8})
@serve.ingress(app)
class Replica:
    """One server."""

    def __init__(self) -> None:
        host = Host(load_chat(MODEL), ServerOptions(model=MODEL, workers=1), Gate(KEYS))
        app.router.routes.extend(routes(host))


application = Replica.bind()
