"""Price lists: what providers charge for compute, storage, requests and egress, as data a user can edit."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas import yaml_file


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quota(_Model):
    """A limit to look up, and raise, before a large run."""

    name: str = Field(description="the provider's name of the quota")
    of: Literal["vcpus", "workers", "disk_gb", "addresses", "requests_per_second"] = Field(
        description="what it limits: vcpus, workers, disk_gb, addresses or requests_per_second"
    )
    limit: float | None = Field(None, gt=0, description="its usual value; leave out when it differs by project")


class Compute(_Model):
    """One way to rent processors, by the hour."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="short name, used in messages and in --json")
    title: str = Field(description="what it is, for a person")
    region: str = Field(description="region the prices are of")
    page: str = Field(description="the provider's page to check the prices against")
    vcpu_hour: float = Field(ge=0, description="price of a vCPU for an hour")
    memory_gb_hour: float = Field(ge=0, description="price of a GB of memory for an hour")
    memory_gb_per_vcpu: float = Field(gt=0, description="memory that comes with a vCPU on the machine type meant")
    disk_gb_hour: float = Field(0, ge=0, description="price of a GB of worker disk for an hour")
    disk_gb_per_vcpu: float = Field(0, ge=0, description="worker disk for each vCPU")
    network_mb_s_per_vcpu: float = Field(125, gt=0, description="MB/s that a vCPU reads from a store at most")
    utilisation: float = Field(
        0.85, gt=0, le=1, description="fraction of the rented time that does work; the rest is start-up and tail"
    )
    quotas: tuple[Quota, ...] = Field((), description="limits to check")


class Store(_Model):
    """One place for objects: storage by the month, requests by the thousand, egress by the GB."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="short name, used in messages and in --json")
    title: str = Field(description="what it is, for a person")
    region: str = Field(description="region the prices are of")
    page: str = Field(description="the provider's page to check the prices against")
    storage_gb_month: float = Field(ge=0, description="price of a GB for a month")
    get_per_1000: float = Field(ge=0, description="price of 1,000 GET or HEAD requests")
    put_per_1000: float = Field(ge=0, description="price of 1,000 PUT, COPY, POST or LIST requests")
    egress_gb: float = Field(ge=0, description="price of a GB that leaves for the internet or another provider")
    quotas: tuple[Quota, ...] = Field((), description="limits to check")


class Prices(_Model):
    """A price list. Its numbers are whatever the file says: check them before spending."""

    date: datetime.date = Field(description="day the prices were noted")
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")
    note: str = Field(min_length=20, description="what is printed beside every amount")
    compute: tuple[Compute, ...] = Field(min_length=1, description="ways to rent processors")
    stores: tuple[Store, ...] = Field(min_length=1, description="places for objects")

    @field_validator("currency", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _distinct(self) -> Prices:
        for name, entries in (("compute", self.compute), ("stores", self.stores)):
            ids = [e.id for e in entries]
            if twice := sorted({i for i in ids if ids.count(i) > 1}):
                raise ValueError(f"{name}: the id {twice[0]!r} is given twice")
        return self


def load(path: str | Path) -> Prices:
    """A price list from its file.

    Raises:
        UsageError: with file, line, what was expected and the nearest valid name.
    """
    return yaml_file.load(Prices, path)
