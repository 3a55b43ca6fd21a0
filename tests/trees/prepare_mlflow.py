from typing import Any

from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine


def first_tables(config: Any) -> None:
    if config.attributes["provision_verb"] == "upgrade":
        Base.metadata.create_all(create_engine(config.get_main_option("sqlalchemy.url")))
