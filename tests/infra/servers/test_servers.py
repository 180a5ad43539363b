from __future__ import annotations

import pytest

from infra.servers.servers import SERVERS, chosen


def test_servers_are_chosen_by_name_or_protocol_in_the_order_of_the_table():
    assert [s.name for s in chosen("azurite, s3")] == ["versitygw", "moto", "azurite"]
    assert chosen("") == list(SERVERS.values())


def test_an_unknown_server_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no server minio; there are versitygw, moto"):
        chosen("versitygw,minio")


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_what_clients_are_told_names_the_port_and_this_machine_alone(server):
    told = {**server.environment(4567), **server.options(4567)}
    addresses = [v for v in map(str, told.values()) if "://" in v or "Endpoint" in v]
    assert all("127.0.0.1:4567" in a for a in addresses)
    assert bool(addresses) == (server.protocol != "http")
