import os

from oslo_config import cfg
from oslo_db import options
from oslo_db.sqlalchemy import enginefacade


def connect() -> None:
    url = os.environ["IRONIC_URL"]
    options.set_defaults(cfg.CONF, connection=url)
    enginefacade.writer.configure(connection=url)
