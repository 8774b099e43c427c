"""Providers under ``/v2/provider`` and what they can do under ``/v2/component``.

There is one set of components, partyd's own, listed under FATE's provider name too, so that jobs that name FATE's
provider run. Another cannot be registered: a provider is code at a path, and no request makes this daemon run code.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, NoReturn

from aiohttp import web
from pydantic import BaseModel, Field

from partyd import __version__
from partyd.api.endpoint import Access, Asked, Endpoint
from partyd.api.replies import FateCode, NotFound, Refusal, success
from partyd.components import COMPONENTS, NAMES
from partyd.components.base import JsonObject
from partyd.components.describe import describe

FATE_VERSION = "2.2.0"
PROVIDERS = (("fate", FATE_VERSION, "local"), ("partyd", __version__, "local"))
Text = Annotated[str, Field(max_length=256)]


class NewProvider(Asked):
    """What FATE's client sends; read so that the refusal can be said in its words."""

    name: Text
    device: Text
    version: Text
    metadata: dict[str, Any]
    protocol: Text = ""
    components_description: dict[str, Any] | None = None


class SomeProviders(Asked):
    name: Text = ""
    device: Text = ""
    version: Text = ""
    provider_name: Text = ""


class OneComponent(Asked):
    name: Text = ""
    """The component; without it all of them, without their parameters."""


class Provider(BaseModel):
    """A set of components."""

    provider_name: str
    name: str
    version: str
    device: str
    metadata: dict[str, str]
    component_list: list[str]


class Providers:
    """The provider and component endpoints."""

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        admin, viewer = Access.ADMIN, Access.VIEWER
        return [
            Endpoint("POST", "/v2/provider/register", self.register, NewProvider, admin),
            Endpoint("GET", "/v2/provider/query", self.query, SomeProviders, viewer, list[Provider]),
            Endpoint("POST", "/v2/provider/delete", self.delete, SomeProviders, admin, bool),
            Endpoint("GET", "/v2/component/query", self.components, OneComponent, viewer, list[JsonObject]),
        ]

    async def register(self, _: web.Request, asked: NewProvider) -> NoReturn:
        """Refuse: code that a request names is not run here."""
        raise Refusal(
            f"the provider {asked.name}:{asked.version}@{asked.device} was not registered: no request makes this "
            "daemon run code; add components as partyd's documentation on algorithms says, and install them",
            status=403,
            number=FateCode.DEVICE_NOT_SUPPORTED,
        )

    async def query(self, _: web.Request, asked: SomeProviders) -> web.Response:
        """Return the providers that fit, with the names of their components."""
        return success([one.model_dump() for one in _fitting(asked)])

    async def delete(self, _: web.Request, asked: SomeProviders) -> web.Response:
        """Say that there was nothing to delete; what is built in stays."""
        found = _fitting(asked)
        if found:
            raise Refusal(
                f"{found[0].provider_name} is built in and stays; name another provider",
                status=403,
                number=FateCode.PROVIDER_PARAMS,
            )
        return success(False)

    async def components(self, _: web.Request, asked: OneComponent) -> web.Response:
        """Return a component: roles, ports, parameters, and who learns what; or all, without their parameters."""
        if asked.name and asked.name not in NAMES:
            raise NotFound(f"there is no component {asked.name!r}; there are {', '.join(sorted(NAMES))}")
        return success(await asyncio.to_thread(_described, asked.name))


def _fitting(asked: SomeProviders) -> list[Provider]:
    found = [
        Provider(
            provider_name=f"{name}:{version}@{device}",
            name=name,
            version=version,
            device=device,
            metadata={},
            component_list=sorted(NAMES),
        )
        for name, version, device in PROVIDERS
    ]
    wanted = asked.model_dump(exclude_defaults=True)
    return [one for one in found if all(getattr(one, key) == value for key, value in wanted.items() if value)]


def _described(name: str) -> list[JsonObject]:
    """Describe components; their modules are imported here, in a thread, for some draw numpy in."""
    if name:
        return [describe(COMPONENTS[name])]
    return [{**describe(COMPONENTS[one]), "parameters": None} for one in sorted(NAMES)]
