"""Holding writers back, beside others who take the same locks in another order."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

from provision.model.sql import identifier
from provision.system.fence import Fence

if TYPE_CHECKING:
    from conftest import Server


def test_a_deadlock_is_tried_again(database: Server) -> None:
    name = identifier(database.endpoint.database)
    database.execute("CREATE TABLE b (id int)", f"ALTER DATABASE {name} SET deadlock_timeout = '3s'")
    fence, done = Fence(database.endpoint), threading.Event()

    def hold() -> None:
        fence.hold(database.endpoint.database)
        done.set()

    with closing(database.connect()) as other, other.cursor() as cursor:
        # Ours waits for b, and holds pg_class; the other has b, and asks for pg_class: the server ends ours after 3 s,
        # which began to wait first.
        cursor.execute("BEGIN; LOCK TABLE b IN ACCESS EXCLUSIVE MODE; SET LOCAL deadlock_timeout = '60s'")
        run = threading.Thread(target=hold)
        run.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'b'::regclass"
        while not database.execute(waiting):
            assert run.is_alive()
        cursor.execute("LOCK TABLE pg_class IN EXCLUSIVE MODE")
        cursor.execute("COMMIT")
    run.join(30)
    assert done.is_set()
    fence.close()
