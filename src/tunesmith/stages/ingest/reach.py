"""Which servers may be reached, and a connection to one, at an address that was checked.

The project file names them (`[project] hosts`). A name is resolved once, each of its addresses is
checked, and it is to one of those that the connection goes: a name that means another address a
moment later gains nothing (DNS rebinding). TLS still asks for the certificate of the name.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urljoin, urlsplit

from pydantic import AfterValidator

from tunesmith.core.errors import DataError

_NAME = r"([a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
_PORTS = {"https": 443, "http": 80}
_POSTGRES, _POSTGRES_PORT = "postgresql", 5432
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200"))
)
"""Where clouds tell a machine its own credentials."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _checked_host(entry: str) -> str:
    found = re.fullmatch(rf"{_NAME}(:(?P<port>[0-9]{{1,5}}))?", entry.lower())
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise ValueError('write "HOST", or "HOST:PORT" for one that may be on a private network')
    return entry.lower()


Host = Annotated[str, AfterValidator(_checked_host)]
"""A host, on port 443 and public addresses; or HOST:PORT, whose addresses may be private."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an address on the web leads."""

    scheme: str
    host: str
    """In lower case; an IPv6 address without its brackets."""
    port: int
    target: str
    """Path and query."""

    @property
    def server(self) -> tuple[str, str, int]:
        """What must be equal for two places to be on one server."""
        return self.scheme, self.host, self.port

    @property
    def name(self) -> str:
        """The host as it is written."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def shown(self) -> str:
        """For people, without the query, which may hold secrets."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.name}{port}{self.target.partition('?')[0]}"


def place_of(url: str) -> Place:
    """Where `url` leads.

    Raises:
        ValueError: it is no https:// address, or one with a user, or http:// and not to this
            machine; the text says so and does not repeat it.
    """
    # Of a backslash, a blank or a line's end, readers of addresses make different things.
    if re.search(r"[^\x21-\x7e]|\\", url):
        raise ValueError("it has a character that an address must write as %XX")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("it does not begin with https://")
    if "@" in parts.netloc:
        raise ValueError("it has a user or a password in it")
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    if not re.fullmatch(_NAME, name):
        raise ValueError("it names no host")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError("its port is none") from None
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ValueError("http:// is for this machine alone (127.0.0.1, ::1): write https://")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(scheme=parts.scheme, host=host, port=port, target=target)


def joined(url: str, link: str) -> str:
    """Where a link that stands at `url` leads; what is no address stays as it is, to be refused."""
    try:
        return urljoin(url, link)
    except ValueError:
        return link


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_be_private(place: Place, hosts: Collection[str]) -> bool:
    """Whether a place that `hosts` allows may lie on a private network.

    Raises:
        DataError: they do not allow it.
    """
    exact = f"{place.name}:{place.port}"
    if exact in hosts:
        return True
    if place.port == _PORTS["https"] and place.name in hosts:
        return False
    entry = place.name if place.port == _PORTS["https"] else exact
    raise DataError(
        f"{exact} is not among the hosts that the project file allows",
        remedy=f'if it may be reached, add it to [project]: hosts = ["{entry}"]',
    )


def allowed_addresses(place: Place, hosts: Collection[str]) -> list[str]:
    """The addresses of `place`, each of which may be connected to.

    Raises:
        DataError: it is not allowed, its name has no address, or one of those is not allowed.
    """
    allows_private = may_be_private(place, hosts)
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise DataError(
            f"the name {place.host} has no address: {error}",
            remedy="check the name, and whether this machine has a network",
        ) from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        _require_allowed(place, address, allows_private)
    return addresses


def require_named(url: str, hosts: Collection[str]) -> None:
    """See that `hosts` names the server of an address on the web, or of a database, before anything
    is connected to.

    Raises:
        DataError: they do not.
        ValueError: see `place_of`.
    """
    if urlsplit(url).scheme == _POSTGRES:
        _postgres(url, hosts)
    else:
        may_be_private(place_of(url), hosts)


def _postgres(origin: str, hosts: Collection[str]) -> Place:
    """Where the database `postgresql://HOST:PORT/DATABASE` is, which has to be named with its port.
    One on this machine may always be asked, as a file may be read.

    Raises:
        DataError: `hosts` does not name it.
    """
    parts = urlsplit(origin)
    host, port = parts.hostname or "", parts.port or _POSTGRES_PORT
    place = Place(scheme=_POSTGRES, host=host, port=port, target=parts.path)
    if not _is_this_machine(host):
        may_be_private(place, hosts)
    return place


def postgres_server(origin: str, hosts: Collection[str]) -> dict[str, str]:
    """How a driver on libpq reaches the database: its name, by which TLS knows it, and the
    addresses, which were checked; so that no name is looked up a second time.

    Raises:
        DataError: it may not be reached, its name has no address, or one of those is not allowed.
    """
    place = _postgres(origin, hosts)
    addresses = allowed_addresses(place, {f"{place.name}:{place.port}"})
    return {
        "host": ",".join([place.host] * len(addresses)),
        "hostaddr": ",".join(addresses),
        "port": str(place.port),
    }


def connect(
    place: Place, hosts: Collection[str], context: ssl.SSLContext, timeout_s: float
) -> socket.socket:
    """A connection to `place`, over TLS where it says https.

    Raises:
        DataError: it is not allowed, its name has no address, or one of those is not allowed.
        OSError: nobody answers there, or not as who he should be.
    """
    addresses = allowed_addresses(place, hosts)
    failed: OSError | None = None
    for address in addresses:
        try:
            plain = socket.create_connection((address, place.port), timeout_s)
        except OSError as error:
            failed = error
            continue
        if place.scheme == "http":
            return plain
        try:
            return context.wrap_socket(plain, server_hostname=place.host)
        except BaseException:
            plain.close()
            raise
    raise failed or OSError("it has no address")


def _require_allowed(place: Place, address: str, allows_private: bool) -> None:
    for each in _meant(ipaddress.ip_address(address)):
        if each in _METADATA or each.is_link_local or each.is_multicast or each.is_unspecified:
            raise DataError(
                f"{place.host} has the address {address}, which is no server's",
                remedy="find out who says so: names and addresses of this kind are used in attacks",
            )
        if place.scheme == "http" and not each.is_loopback:
            raise DataError(f"{place.host} is {address}, not this machine", remedy="use https://")
        if not each.is_global and not allows_private:
            raise DataError(
                f"{place.host} has the address {address}, which is on a private network",
                remedy="if that is meant, name the host with its port in [project]: "
                f'hosts = ["{place.name}:{place.port}"]',
            )


def _meant(address: _Address) -> Iterator[_Address]:
    """The address, and the one of IPv4 that it stands for, if it does."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        yield from (each for each in inner if each is not None)
