"""A certificate authority for one control plane, in files."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=7)
_CLOCK_SKEW = datetime.timedelta(minutes=5)
_SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Issues certificates with P-256 keys into one folder; the keys' files are for their owner alone."""

    def __init__(
        self, folder: Path, *, name: str = "heliograph-test-ca", lifetime: datetime.timedelta = _LIFETIME
    ) -> None:
        """Make the authority's own key and certificate in `folder`, which must exist; the key is in no file.

        Args:
            folder: Where the files of everything that it issues go.
            name: Its common name.
            lifetime: How long its certificate and all that it issues are valid.
        """
        self._folder = folder
        self._lifetime = lifetime
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS_CERTIFICATES, critical=True)
        )
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue_client(self, name: str, *, user: str, groups: Sequence[str] = ()) -> tuple[Path, Path]:
        """Return the files of a certificate and key that the API server takes for `user` in `groups`.

        Args:
            name: Stem of the files' names.
            user: Kubernetes user name (the common name).
            groups: Kubernetes groups (the organizations).
        """
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._issue(name, subject, [ExtendedKeyUsageOID.CLIENT_AUTH], [])

    def issue_server(self, name: str, *, hosts: Sequence[str]) -> tuple[Path, Path]:
        """Return the files of a serving certificate and key.

        Args:
            name: Stem of the files' names.
            hosts: Addresses and DNS names that clients may use.
        """
        return self._issue(name, _common_name(name), [ExtendedKeyUsageOID.SERVER_AUTH], hosts)

    def issue_peer(self, name: str, *, hosts: Sequence[str]) -> tuple[Path, Path]:
        """Return the files of a certificate and key of one who serves others of its kind, and calls them.

        Args:
            name: Stem of the files' names.
            hosts: Addresses and DNS names that the others may use.
        """
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._issue(name, _common_name(name), usages, hosts)

    def issue_signing_key(self, name: str) -> tuple[Path, Path]:
        """Return the files of a public and a private key, for signing service-account tokens."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = self._folder / f"{name}.pub"
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return public, self._write_key(name, key)

    def _issue(
        self, name: str, subject: x509.Name, usages: Sequence[x509.ObjectIdentifier], hosts: Sequence[str]
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key.public_key()).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = self._folder / f"{name}.crt"
        certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return certificate, self._write_key(name, key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - _CLOCK_SKEW,
            not_valid_after=now + self._lifetime,
        )
        # Python 3.13 and later refuse a certificate without the two identifiers.
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        path = self._folder / f"{name}.key"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
