"""The surroundings that conftest.py promises to every test."""

import os
import socket
import tempfile
from pathlib import Path

import pytest
from django.conf import settings

from tests.network import NetworkBlocked


def test_the_data_folder_is_temporary():
    assert Path(tempfile.gettempdir()) in settings.DATA_DIR.parents, (
        "settings were loaded before tests/conftest.py: pyproject.toml must not name DJANGO_SETTINGS_MODULE"
    )
    assert os.environ["DATA_DIR"] == str(settings.DATA_DIR)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "example.com"])
def test_the_network_is_out_of_reach(address):
    with pytest.raises(NetworkBlocked):
        socket.create_connection((address, 80), timeout=1)


def test_loopback_is_within_reach():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()


def test_no_key_of_a_developers_switches_a_provider_on():
    from routing.catalog.shipped import read_providers

    assert read_providers()
    for provider in read_providers():
        assert provider.api_key_env not in os.environ
        assert provider.base_url_env not in os.environ
