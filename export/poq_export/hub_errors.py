"""What goes wrong with the hub, in words that say what to do. No address of a store and no token is repeated here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hub import HubFile


class HubError(Exception):
    """The hub has the file not, or not for us. Errors that say the same of one thing have one `about`."""

    def __init__(self, message: str, about: str | None = None) -> None:
        super().__init__(message)
        self.about = about or message


class Gated(HubError):
    """The licence was not accepted, or no token says who asks."""


class Missing(HubError):
    """No such repository, revision or file."""


class Offline(HubError):
    """The hub cannot be asked."""


TEMPORARY = (408, 425, 429, 500, 502, 503, 504)


def status_of(error: Exception) -> int | None:
    """The status of the reply that an error of the client stands for."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_temporary(error: Exception) -> bool:
    """Whether the same question may be answered later: a lost connection, a busy server."""
    from httpx2 import TransportError, UnsupportedProtocol

    if isinstance(error, UnsupportedProtocol):
        return False
    return status_of(error) in TEMPORARY or isinstance(error, TransportError)


def wait_asked_for(error: Exception) -> float | None:
    """Seconds in the reply's `Retry-After`."""
    asked = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    return float(asked) if asked.isdigit() else None


def explain(error: Exception, file: HubFile, token: str | None) -> HubError:
    """The error of the client or its transport as one of ours."""
    from huggingface_hub import errors

    if isinstance(error, HubError):
        return error
    status = status_of(error)
    if isinstance(error, errors.GatedRepoError):
        return Gated(gated(file, token), file.repo)
    if isinstance(error, errors.RevisionNotFoundError):
        return Missing(
            f"`{file.repo}` has no revision {file.revision} (asked for {file.name})", f"{file.repo}@{file.revision}"
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return Missing(f"`{file.repo}` has no file `{file.name}` at revision {file.revision}")
    if status == 401 and token:
        return Gated(
            f"the hub does not accept the token in HF_TOKEN (asked for {file}): mistyped, expired or withdrawn", "token"
        )
    if status == 403:
        return Gated(
            f"the hub refuses {file} to this token: see {file.page}; a fine-grained token needs the permission to read "
            "public gated repositories",
            file.repo,
        )
    if status in (401, 404):
        return Missing(f"the hub has no {file.kind} `{file.repo}`, or it is private (asked for {file.name})", file.repo)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return Offline(f"HF_HUB_OFFLINE forbids to ask the hub for {file}", "hub")
    if status is not None:
        return Offline(f"the hub answers with status {status}", "hub")
    if is_temporary(error):
        return Offline(f"the connection to the hub failed ({type(error).__name__})", "hub")
    return HubError(f"{type(error).__name__} when asking the hub for {file}")


def gated(file: HubFile, token: str | None) -> str:
    """What to do about a gated repository."""
    if token is None:
        return (
            f"`{file.repo}` is gated: accept its licence at {file.page}, then set HF_TOKEN to a token of that account "
            "(https://huggingface.co/settings/tokens)"
        )
    return (
        f"`{file.repo}` is gated, and the account of the token in HF_TOKEN may not read it: accept its licence at "
        f"{file.page} with that account, or wait until the request is granted"
    )
