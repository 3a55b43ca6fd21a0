"""After an upgrade: the old data is given up, or the new one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.model import Action, Address, EngineCall, Step
from provision.runtimes.docker import belongings, generations
from provision.runtimes.docker.upgrading import is_switched

if TYPE_CHECKING:
    from provision.runtimes.docker.site import DockerSite


def finish(site: DockerSite) -> tuple[Step, ...]:
    """Return the steps that remove what was kept.

    Raises:
        RefusedError: the new server does not run yet.
    """
    if site.generations.kept and (not is_switched(site) or site.status.server != "running"):
        raise RefusedError("the new server does not run, so the old data is still needed", next_step="provision apply")
    belongings.check_volumes(site, [each.name for each in site.generations.kept])
    volumes = [(each.name, f"the data of PostgreSQL {each.major}") for each in site.generations.kept]
    olds = {generations.mark_name(name) for name, _ in volumes} & {*site.generations.marks}
    return (
        *site.leftovers(),
        *(
            Step(Address("volume", name), Action.REMOVE, None, None, (EngineCall("remove_volume", name),), (why,),
                 destroys=True)
            for name, why in volumes
        ),
        *(
            Step(Address("volume", name), Action.REMOVE, None, None, (EngineCall("remove_volume", name),),
                 ("its mark",))
            for name in sorted(olds)
        ),
    )  # fmt: skip


def rollback(site: DockerSite) -> tuple[Step, ...]:
    """Return the steps that remove the new server and its data, after which the kept volume is the current one.

    Raises:
        RefusedError: nothing is kept.
    """
    current = site.generations.current
    if current is None or not site.generations.is_upgraded or not site.generations.kept:
        raise RefusedError(
            f"there is nothing to go back to: no older data of {site.spec.name!r} is kept",
            next_step="provision status",
        )
    steps: list[Step] = [*site.leftovers()]
    if site.container is not None:
        stop = EngineCall("stop_container", site.container_name, {"timeout": round(site.spec.server.stop_timeout)})
        remove = EngineCall("remove_container", site.container_name)
        why = (f"it runs on {current.name!r}",)
        steps.append(Step(Address("container", site.container_name), Action.REMOVE, None, None, (stop, remove), why))
    effects = (
        EngineCall("remove_volume", generations.mark_name(current.name)),
        EngineCall("remove_volume", current.name),
    )
    why = (f"the data goes back to {site.generations.kept[0].name!r}, as it was before the upgrade",)
    lost = "what was written since the upgrade is lost"
    steps.append(Step(Address("volume", current.name), Action.REMOVE, None, None, effects, why, lost, destroys=True))
    return tuple(steps)


def origin(site: DockerSite) -> tuple[str, int]:
    """Return image and major version that the data was upgraded from."""
    labels = site.generations.current.labels if site.generations.current is not None else {}
    return labels.get(generations.FROM_IMAGE, ""), int(labels.get(generations.FROM_MAJOR, "0"))
