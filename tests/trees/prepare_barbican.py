from typing import Any


def attach(config: Any) -> None:
    config.barbican_sqlalchemy_url = None
