"""A disk that is full: what failed says so and what helps, and once there is room the next apply continues."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

_UNCONFINED = ["seccomp=unconfined", "apparmor=unconfined"]
ROOM = "make room for the data (volume {}), then: provision apply spec.yml"


@contextmanager
def a_small_disk(environment: Environment, megabytes: int) -> Iterator[str]:
    """Have a volume with little room. It is in memory, so a container that only reads keeps it there."""
    client, name = environment.engine.client, f"{environment.name}-small"
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={megabytes}m"}
    client.create_volume(name, driver="local", driver_opts=options)
    host = client.create_host_config(binds=[f"{name}:/there:ro"])
    words = ["sleep", "600"]
    keeper = client.create_container("postgres:17", words, name=f"{name}-keeper", host_config=host, entrypoint=[])
    client.start(keeper["Id"])
    try:
        yield name
    finally:
        environment.engine.remove_all(environment.name)


def make_room(environment: Environment, small: str, megabytes: int) -> None:
    """Let the volume be larger, with all that is in it: in memory, the size is an option of the mount."""
    client, name = environment.engine.client, f"{environment.name}-larger"
    host = client.create_host_config(binds=[f"{small}:/there"], cap_add=["SYS_ADMIN"], security_opt=_UNCONFINED)
    words = ["mount", "-o", f"remount,size={megabytes}m", "/there"]
    larger = client.create_container("postgres:17", words, name=name, host_config=host, entrypoint=[])
    client.start(larger["Id"])
    assert client.wait(larger["Id"])["StatusCode"] == 0
    client.remove_container(larger["Id"])


def test_no_room_for_a_first_start(environment: Environment) -> None:
    with a_small_disk(environment, 24) as small:
        told = environment.server(data={"volume": small}).run("apply", code=1).err
        assert "No space left on device" in told
        assert ROOM.format(small) in told
        make_room(environment, small, 200)
        environment.apply()
        environment.settled()


def test_no_room_for_a_migration(environment: Environment) -> None:
    with a_small_disk(environment, 120) as small:
        environment.server(data={"volume": small}).migrations("userdata").apply()
        environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")
        fill = "dd if=/dev/zero of=/var/lib/postgresql/data/fill bs=64k 2>/dev/null"
        environment.migrations("userdata", "orders")
        revision = environment.directory / "migrations" / "versions" / "r2.py"
        grown = "    op.execute(\"INSERT INTO orders (name) SELECT repeat('x', 200) FROM generate_series(1, 20000)\")\n"
        text = revision.read_text()
        revision.write_text(text.replace("\n\ndef downgrade", f"\n{grown}\ndef downgrade"))
        environment.engine.run(environment.name, "sh", "-c", fill)
        told = environment.run("apply", code=1).err
        assert "No space left on device" in told
        assert ROOM.format(small) in told
        environment.engine.run(environment.name, "rm", "/var/lib/postgresql/data/fill")
        environment.apply()
        assert environment.query("SELECT name FROM userdata") == [("Zoë",)]
        assert environment.query("SELECT count(*) FROM orders") == [(20000,)]
        environment.settled()
