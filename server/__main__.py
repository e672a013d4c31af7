"""`python -m server`: gunicorn with our settings, whatever files lie in the working directory."""

import sys

from gunicorn.app.wsgiapp import WSGIApplication


class Application(WSGIApplication):  # type: ignore[misc]
    """gunicorn's own, without the working directory on the module path.

    Somebody's server.py there would take the place of ours.
    """

    def chdir(self) -> None:
        """Stay: there is no other directory to go to."""


if __name__ == "__main__":
    sys.argv[1:] = ["-c", "python:server.gunicorn_conf", "server.app"]
    Application("%(prog)s [OPTIONS] [APP_MODULE]", prog="lite serve").run()
