"""The settings of what is sent to other servers."""

import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from taskmanager.environment import EnvironmentSettings

_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*", re.ASCII)


class WebhookSettings(EnvironmentSettings):
    """Whether webhooks are sent, and where to.

    Raises:
        pydantic.ValidationError: A value is malformed.
    """

    webhooks_enabled: bool = Field(
        default=True,
        description="Send webhooks; off, they can be managed and what happens waits until a process sends it.",
    )
    webhook_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Host names, a comma list, whose webhooks may be sent without TLS, to an http:// URL.",
    )
    webhook_allowed_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Networks and addresses, a comma list, that webhooks may be sent to although they are not on the "
        "public internet, such as 10.0.0.0/8; every owner of a project can then reach what is there.",
    )

    @field_validator("webhook_allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError("must be names of hosts with commas between, without scheme and port")
        return names

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        return tuple(str(ip_network(name, strict=False)) for name in names)

    @cached_property
    def webhook_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks that webhooks may be sent to beside the public internet."""
        return tuple(ip_network(name) for name in self.webhook_allowed_networks)
