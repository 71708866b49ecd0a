"""Which servers are reached: names, addresses, certificates."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pydantic
import pytest

from tunesmith.core.errors import DataError
from tunesmith.stages.ingest import reach
from tunesmith.stages.ingest.reach import (
    Host,
    Place,
    connect,
    may_be_private,
    place_of,
    postgres_server,
)

CONTEXT = ssl.create_default_context()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://API.example.com/v1?a=b", ("https", "api.example.com", 443, "/v1?a=b")),
        ("https://api.example.com:8443", ("https", "api.example.com", 8443, "/")),
        ("http://127.0.0.1:8080/x", ("http", "127.0.0.1", 8080, "/x")),
        ("http://[::1]:8080/x", ("http", "::1", 8080, "/x")),
        ("http://localhost/x#y", ("http", "localhost", 80, "/x")),
    ],
)
def test_where_an_address_leads(url: str, said: tuple[str, str, int, str]) -> None:
    place = place_of(url)
    assert (place.scheme, place.host, place.port, place.target) == said
    assert "?" not in place.shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://api.example.com/x", "http:// is for this machine"),
        ("http://127.0.0.1.example.com/x", "http:// is for this machine"),
        ("ftp://api.example.com/x", "begin with https"),
        ("file:///etc/passwd", "begin with https"),
        ("//api.example.com/x", "begin with https"),
        ("https://ann:pw@api.example.com/x", "user or a password"),
        ("https://good.example\\@evil.example/x", "must write as %XX"),
        ("https://api.example.com/a b", "must write as %XX"),
        ("https://api.example.com/a\nb", "must write as %XX"),
        ("https://äpi.example.com/", "must write as %XX"),
        ("https://", "names no host"),
        ("https://api..%41.com/", "names no host"),
        ("https://api.example.com:99999/", "port"),
        ("https://[::1/", "Invalid IPv6"),
    ],
)
def test_addresses_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        place_of(url)
    assert "pw" not in str(error.value)


def test_hosts_are_named_with_their_port_or_on_443() -> None:
    public, odd = place_of("https://api.example.com/x"), place_of("https://api.example.com:8443/x")
    assert may_be_private(public, ("api.example.com",)) is False
    assert may_be_private(public, ("api.example.com:443",)) is True
    assert may_be_private(odd, ("api.example.com:8443",)) is True
    for place, hosts in [
        (public, ()),
        (public, ("example.com",)),
        (public, ("api.example.com:8443",)),
        (odd, ("api.example.com",)),
        (place_of("http://localhost/x"), ("localhost",)),
    ]:
        with pytest.raises(DataError, match="not among the hosts") as error:
            may_be_private(place, hosts)
        assert "hosts = [" in error.value.remedy


@pytest.mark.parametrize("entry", ["https://x.example", "x.example/", "x:0", "x:65536", "", "*.x"])
def test_entries_of_hosts_that_are_none(entry: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="HOST"):
        pydantic.TypeAdapter(Host).validate_python(entry)
    assert pydantic.TypeAdapter(Host).validate_python("CRM.example:8443") == "crm.example:8443"
    assert pydantic.TypeAdapter(Host).validate_python("[::1]:80") == "[::1]:80"


PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "::1", "fd12::1",
    "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1",
]  # fmt: skip
NOBODYS = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0",
    "::", "224.0.0.1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC + PRIVATE + NOBODYS)
def test_every_address_is_checked(address: str) -> None:
    """Private ones are allowed by name and port alone, and those of no server never are."""
    place = place_of("https://crm.example/x")
    for allows_private in (False, True):
        if address in PUBLIC or (address in PRIVATE and allows_private):
            reach._require_allowed(place, address, allows_private)
        else:
            with pytest.raises(DataError, match=r"private network|no server's") as error:
                reach._require_allowed(place, address, allows_private)
            assert address in str(error.value)
            assert error.value.remedy
    if address not in ("127.0.0.1", "::1"):
        with pytest.raises(DataError):
            reach._require_allowed(place_of("http://localhost/x"), address, True)


def test_a_name_that_leads_to_this_machine_is_refused(api: Any) -> None:
    with pytest.raises(DataError, match="private network"):
        connect(place_of("https://localhost/x"), ("localhost",), CONTEXT, 5)
    assert api.requests == []


def test_one_bad_address_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public address and a private one is no mistake but an attack, or a mistake."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in (
        "93.184.215.14", "10.0.0.1")]  # fmt: skip
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(DataError, match=r"10\.0\.0\.1"):
        connect(place_of("https://crm.example/x"), ("crm.example",), CONTEXT, 5)


def test_the_connection_goes_to_the_address_that_was_checked(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the name means when it is looked up once more (DNS rebinding)."""
    real, asked = socket.getaddrinfo, []

    def resolver(host: str, *rest: Any, **named: Any) -> Any:
        if host != "localhost":
            return real(host, *rest, **named)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    place = place_of(f"http://localhost:{api.port}/x")
    with connect(place, (f"localhost:{api.port}",), CONTEXT, 5) as plug:
        assert plug.getpeername() == ("127.0.0.1", api.port)
    assert asked == ["localhost"]


def test_a_name_without_an_address() -> None:
    with pytest.raises(DataError, match=r"nowhere\.invalid has no address") as error:
        connect(place_of("https://nowhere.invalid/x"), ("nowhere.invalid",), CONTEXT, 5)
    assert "network" in error.value.remedy


def test_a_database_is_named_with_its_port_unless_it_is_on_this_machine() -> None:
    assert postgres_server("postgresql://127.0.0.1:5433/crm", ()) == {
        "host": "127.0.0.1",
        "hostaddr": "127.0.0.1",
        "port": "5433",
    }
    assert postgres_server("postgresql://10.1.2.3/crm", ["10.1.2.3:5432"])["hostaddr"] == "10.1.2.3"
    for hosts in ((), ["10.1.2.3"], ["10.1.2.3:443"]):
        with pytest.raises(DataError, match=r"10\.1\.2\.3:5432 is not among the hosts") as refused:
            postgres_server("postgresql://10.1.2.3/crm", hosts)
        assert 'hosts = ["10.1.2.3:5432"]' in refused.value.remedy
    with pytest.raises(DataError, match="which is no server's"):
        postgres_server("postgresql://169.254.169.254:80/latest", ["169.254.169.254:80"])


def test_the_driver_is_given_the_addresses_that_were_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(0, 0, 0, "", (address, 5432)) for address in ("10.0.0.1", "10.0.0.2")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    server = postgres_server("postgresql://db.example.org/crm", ["db.example.org:5432"])
    assert server["hostaddr"] == "10.0.0.1,10.0.0.2"
    assert server["host"] == "db.example.org,db.example.org"  # for TLS, one for each address


def test_places_are_told_apart_by_scheme_host_and_port() -> None:
    here = Place(scheme="https", host="a", port=443, target="/")
    assert here.server == place_of("https://a/other").server
    for other in ("https://b/", "https://a:444/", "http://localhost/"):
        assert here.server != place_of(other).server
