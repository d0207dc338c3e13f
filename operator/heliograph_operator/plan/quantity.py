"""Quantities of Kubernetes, such as 16Gi or 500m."""

from decimal import Decimal

_BINARY = {f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def value_of(quantity: str) -> Decimal:
    """Return a quantity's value (k8s.io/apimachinery/pkg/api/resource `Quantity`)."""
    number = quantity.rstrip("KMGTPEiknum")
    suffix = quantity[len(number) :]
    return Decimal(number) * (_BINARY[suffix] if suffix in _BINARY else Decimal(10) ** _DECIMAL[suffix])
