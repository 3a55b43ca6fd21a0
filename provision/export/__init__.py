"""How applications get the login: variables of the environment, for the process that follows, a file or a pipeline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from provision.errors import UsageError
from provision.model import Endpoint, drivers
from provision.system.libpq import PLACE, of_login, tls
from provision.system.variables import environ

URL: Final = "DATABASE_URL"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PARTS: Final = ("host", "port", "user", "password", "database")


def variables(at: Endpoint, named: Mapping[str, str], driver: str | None) -> dict[str, str]:
    """Return the variables by name, the password in clear: the URL, what is ``named``, and those of libpq.

    ``named`` maps a name to a driver, whose URL it gets, to a part of the login, or to nothing: the plain URL.
    https://www.postgresql.org/docs/current/libpq-envars.html

    Raises:
        UsageError: a name is not valid, or there is no such driver.
    """
    libpq = of_login(at)
    wanted = {name: _value(at, name, what, libpq) for name, what in named.items()}
    libpq |= {name: value for name, value in tls(at).items() if (name, value) != ("PGSSLMODE", "prefer")}
    return {URL: at.url(driver=driver), **wanted, **libpq}


def _value(at: Endpoint, name: str, what: str, libpq: Mapping[str, str]) -> str:
    if not re.fullmatch(_NAME, name) or name in PLACE:
        of_names = "a name has letters, digits and _, and no digit first"
        why = "it is libpq's, and set anyway" if name in PLACE else of_names
        raise UsageError(f"--variable {name}: {why}", next_step=f"--variable SHOP_DSN={drivers.DRIVERS[0]}")
    if what in _PARTS:
        return libpq[f"PG{what.upper()}"]
    if what:
        drivers.check(what, f"--variable {name}=")
    return at.url(driver=what or None)


def of_program(given: Mapping[str, str]) -> dict[str, str]:
    """Return all variables of a program that gets those that are given; others of libpq would lead it elsewhere."""
    return {**{name: value for name, value in environ().items() if name not in PLACE}, **given}


def masks(given: Mapping[str, str]) -> tuple[str, ...]:
    """Return what must not be seen of variables, the longest first: the password in every form, and its lines."""
    from urllib.parse import quote

    password = given["PGPASSWORD"]
    forms = {password, quote(password, safe="")} - {""}
    whole = {value for value in given.values() if any(form in value for form in forms)}
    lines = {line for value in (*forms, *whole) for line in re.split(r"[\r\n]+", value)}
    return tuple(
        sorted((each for each in {*forms, *whole, *lines} if each.strip()), key=lambda each: (-len(each), each))
    )
