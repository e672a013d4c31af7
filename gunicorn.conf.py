"""Found by `gunicorn server.app` in this directory; see server/gunicorn_conf.py."""

from server.gunicorn_conf import *  # noqa: F403
