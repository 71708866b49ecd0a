"""Tests reach this machine and no other."""

from __future__ import annotations

import socket

import pytest


def test_another_machine_is_not_connected_to():
    with socket.socket() as one, pytest.raises(AssertionError, match=r"connects to 192\.0\.2\.1"):
        one.connect(("192.0.2.1", 9))  # an address that is nobody's


def test_this_one_is():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
