import os
from typing import Any

from oslo_config import cfg
from oslo_db import options


def attach(config: Any) -> None:
    options.set_defaults(cfg.CONF, connection=os.environ["MISTRAL_URL"])
    cfg.CONF([], project="mistral")
    config.mistral_config = cfg.CONF
