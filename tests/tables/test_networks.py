"""The network that a compose file gives its service, and the files that no container can be made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import ProvisionError
from provision.runtimes.docker import compose

FILE = """
name: shop
services:
  postgres:
    image: postgres:17
    container_name: shop
    {service}
{file}
"""

CHOSEN = {
    "network_mode: bridge": ("bridge", None),
    "": ("shop_default", ["postgres", "shop"]),
    "networks: [back]|networks: {back: }": ("shop_back", ["postgres", "shop"]),
    "networks: {back: {aliases: [db]}}|networks: {back: {driver: bridge}}": ("shop_back", ["db", "postgres", "shop"]),
    "networks: [back]|networks: {back: {external: true}}": ("back", ["postgres", "shop"]),
    "|networks: {default: {name: company}}": ("company", ["postgres", "shop"]),
}

REFUSED = {
    "network_mode: host": "only 'bridge'",
    "network_mode: bridge\n    networks: [back]|networks: {back: }": "without `networks`",
    "networks: [one, two]|networks: {one: , two: }": "one is supported",
    "networks: [back]": "'back' is not declared",
    "networks: [back]|networks: {back: {driver: overlay}}": "driver 'overlay'",
    "networks: {back: {ipv4_address: 10.0.0.2}}|networks: {back: }": "'ipv4_address'",
    "networks: [back]|networks: {back: {internal: true}}": "'internal'",
    "networks: 7": "networks: 7 is not supported",
}


def read(case: str) -> compose.Creation:
    service, _, file = case.partition("|")
    return compose.read(FILE.format(service=service, file=file), Path("/x/docker-compose.yml"))


@pytest.mark.parametrize("case", CHOSEN)
def test_the_network_of_a_service(case: str) -> None:
    body = read(case).body
    mode, aliases = CHOSEN[case]
    assert body["HostConfig"]["NetworkMode"] == mode
    endpoint = body.get("NetworkingConfig", {}).get("EndpointsConfig", {}).get(mode, {})
    assert endpoint.get("Aliases") == aliases


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_is_not_supported_is_named(case: str) -> None:
    with pytest.raises(ProvisionError, match=REFUSED[case]):
        read(case)
