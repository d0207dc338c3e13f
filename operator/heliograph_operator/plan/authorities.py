"""Authorities that fetchers trust in place of the public ones: a bundle of certificates in a ConfigMap."""

from heliograph_operator.resources import Object
from heliograph_operator.settings import OperatorSettings

_VOLUME = "ca"
_FOLDER = "/etc/heliograph/ca"
_FILE = "ca.crt"


def authorities_volumes(settings: OperatorSettings) -> list[Object]:
    """Return the volume with the bundle; none where there is no bundle.

    It is not optional: a fetcher that asks by the public authorities in its place would fail without saying why.
    """
    if not settings.fetcher_ca_config_map:
        return []
    items = [{"key": settings.fetcher_ca_key, "path": _FILE}]
    return [{"name": _VOLUME, "configMap": {"name": settings.fetcher_ca_config_map, "items": items}}]


def authorities_mounts(settings: OperatorSettings) -> list[Object]:
    """Return the mount of that volume; none where there is no bundle."""
    if not settings.fetcher_ca_config_map:
        return []
    return [{"name": _VOLUME, "mountPath": _FOLDER, "readOnly": True}]


def authorities_environment(settings: OperatorSettings) -> dict[str, str]:
    """Return the variable that points OpenSSL and others to the bundle; none where there is none."""
    return {"SSL_CERT_FILE": f"{_FOLDER}/{_FILE}"} if settings.fetcher_ca_config_map else {}
