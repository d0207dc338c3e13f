"""Tokens for a registry, as its token server signs them (distribution/distribution, docs/spec/auth/jwt.md)."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

_HOUR = timedelta(hours=1)


def make_token(certificate: Path, *, issuer: str, audience: str, repository: str) -> str:
    """Return a token to read and write a repository for an hour, and write the certificate of who signed it.

    Args:
        certificate: Where the certificate is written, as PEM.
        issuer: Who signs.
        audience: The registry's name for itself.
        repository: The repository.
    """
    now = datetime.now(UTC)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    signer = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOUR)
        .not_valid_after(now + _HOUR)
        .sign(key, SHA256())
    )
    certificate.write_bytes(signer.public_bytes(Encoding.PEM))
    chain = [base64.b64encode(signer.public_bytes(Encoding.DER)).decode()]
    access = [{"type": "repository", "name": repository, "actions": ["pull", "push"]}]
    valid = {"nbf": int((now - _HOUR).timestamp()), "exp": int((now + _HOUR).timestamp())}
    claims = {"iss": issuer, "sub": "", "aud": audience, "jti": "1", "iat": valid["nbf"], **valid, "access": access}
    signed = ".".join(map(_encode, ({"typ": "JWT", "alg": "RS256", "x5c": chain}, claims)))
    signature = key.sign(signed.encode(), padding.PKCS1v15(), SHA256())
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _encode(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
