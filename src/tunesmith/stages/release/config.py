"""Settings of a release, whose alias comes from the `[gate.NAME]` section of the project file; and
of who may promote it: the `[registry]` section."""

from __future__ import annotations

from pydantic import Field, field_validator

from tunesmith.core.canonical import one_form
from tunesmith.core.section import Section


class ReleaseConfig(Section):
    """What a model version is released as."""

    alias: str = Field(default="candidate", min_length=1)
    """The alias that is pointed at the release."""
    name: str = Field(min_length=1)
    """Name of the model that the alias belongs to."""


class RegistryConfig(Section):
    """Who may put a model into production. It is read from the project file alone: no flag, no
    environment variable and no user file can change it."""

    approvers: tuple[str, ...] = ()
    """Users who may approve, reject and retire; without any nothing can be approved. Names of the
    operating system's users."""
    askers: tuple[str, ...] = ()
    """Users who may ask for a promotion, beside the approvers; without any, whoever can run it
    may. For somebody who is in neither list nobody asks with `--as`."""
    four_eyes: bool = True
    """Whether whoever tuned, judged or asked may not approve. A team of one has to set it to false,
    and each approval's evidence says so."""
    allow_as: bool = False
    """Whether `--as NAME` is believed, where a trusted program acts for people that it has told
    apart. The evidence names the operating system's user beside them."""
    signing_key: str = ""
    """The private key that a model version is signed with when it is released: a file outside of
    the project's folder, or $VARIABLE for the environment variable that names the file."""
    signing_password_env: str = ""
    """The environment variable that holds the password of that key, if it has one."""
    public_key: str = ""
    """The public key that a version must be signed with, or it is not approved, served or exported;
    a file, relative to the project's folder."""

    @field_validator("approvers", "askers", mode="after")
    @classmethod
    def _in_one_form(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """As whoever acts is called, however the file spells them."""
        return tuple(one_form(name) for name in names)
