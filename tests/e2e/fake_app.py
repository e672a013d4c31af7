"""The application over fakes, one engine for each worker process."""

from lite.settings import load_config
from server.app import Application
from tests.api.fakes import make_services

_services, _engine, _generator = make_services(load_config().config)
application = Application(_services)
