"""HTTP: wire formats, routes and the one table error → status."""

from server.http.app import create_app
from server.http.call import Call, Target
from server.http.infer import Inference
from server.http.limits import Limits
from server.http.reply import Reply

__all__ = ["Call", "Inference", "Limits", "Reply", "Target", "create_app"]
