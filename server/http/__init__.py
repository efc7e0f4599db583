"""HTTP: wire formats, routes and the one table error → status."""

from server.http.app import create_app
from server.http.codec.call import Call, Target
from server.http.codec.limits import Limits
from server.http.codec.reply import Reply
from server.http.inference.inference import Inference

__all__ = ["Call", "Inference", "Limits", "Reply", "Target", "create_app"]
