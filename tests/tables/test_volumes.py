"""The `volumes:` of a service: every option of a mount reaches the engine, or is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.runtimes.docker.mounts import binds, mount

HERE = Path("/srv")
BIND = {"Type": "bind", "Source": "/srv/x", "Target": "/x"}
VOLUME = {"Type": "volume", "Source": "shop_data", "Target": "/x"}


def translated(declared: object) -> dict[str, Any]:
    """Return a mount as the engine is asked for it."""
    return binds({"Mounts": [mount(declared, HERE, {"data": "shop_data"})]})


@pytest.mark.parametrize(
    ("declared", "asked"),
    [
        ("./x:/x", {"Mounts": [BIND]}),
        ("./x:/x:rw", {"Mounts": [BIND]}),
        ("./x:/x:ro", {"Mounts": [{**BIND, "ReadOnly": True}]}),
        ("./x:/x:ro,z", {"Mounts": [], "Binds": ["/srv/x:/x:ro,z"]}),
        ("./x:/x:Z", {"Mounts": [], "Binds": ["/srv/x:/x:rw,Z"]}),
        ("./x:/x:rslave,ro", {"Mounts": [{**BIND, "ReadOnly": True, "BindOptions": {"Propagation": "rslave"}}]}),
        ("./x:/x:z,rshared", {"Mounts": [], "Binds": ["/srv/x:/x:rw,z,rshared"]}),
        ("./x:/x:cached", {"Mounts": [BIND]}),
        ("data:/x:nocopy", {"Mounts": [{**VOLUME, "VolumeOptions": {"NoCopy": True}}]}),
        ("data:/x:Z,nocopy", {"Mounts": [], "Binds": ["shop_data:/x:rw,Z,nocopy"]}),
        ({"type": "bind", "source": "./x", "target": "/x", "bind": {"selinux": "z", "create_host_path": False}},
         {"Mounts": [], "Binds": ["/srv/x:/x:rw,z"]}),
        ({"type": "bind", "source": "./x", "target": "/x", "bind": {"propagation": "shared", "recursive": "disabled"}},
         {"Mounts": [{**BIND, "BindOptions": {"Propagation": "shared", "NonRecursive": True}}]}),
        ({"type": "volume", "source": "data", "target": "/x", "volume": {"nocopy": True, "subpath": "a"}},
         {"Mounts": [{**VOLUME, "VolumeOptions": {"NoCopy": True, "Subpath": "a"}}]}),
        ({"type": "tmpfs", "target": "/x", "tmpfs": {"size": 1024, "mode": 0o1777}},
         {"Mounts": [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 0o1777}}]}),
    ],
)  # fmt: skip
def test_an_option_reaches_the_engine(declared: object, asked: dict[str, Any]) -> None:
    assert translated(declared) == asked


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("./x:/x:U", "the option 'U' of a bind"),
        ("data:/x:shared", "the option 'shared' of a volume"),
        ({"type": "bind", "source": "./x", "target": "/x", "bind": {"selinux": "y"}}, "selinux 'y' is not one of z, Z"),
        (
            {"type": "bind", "source": "./x", "target": "/x", "bind": {"propagation": "no"}},
            "propagation 'no' is not one",
        ),
        ({"type": "bind", "source": "./x", "target": "/x", "bind": {"uid": 1}}, "'uid' of 'bind'"),
        ({"type": "volume", "source": "data", "target": "/x", "volume": {"driver": 1}}, "'driver' of 'volume'"),
        ({"type": "bind", "source": "./a:b", "target": "/x", "bind": {"selinux": "z"}}, "no path with `:`"),
    ],
)
def test_an_option_that_the_engine_does_not_get_is_an_error(declared: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        translated(declared)
