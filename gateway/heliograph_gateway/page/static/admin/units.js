// Numbers with their units, for people.

const GIB = 1024 ** 3;

/** Return how much of a memory is used, both in bytes. */
export function memoryText(used, total) {
  return `${(used / GIB).toFixed(1)} of ${(total / GIB).toFixed(1)} GiB`;
}

/** Return a whole or decimal number with separators, as it is written where the person lives. */
export function numberText(value, digits = 0) {
  return Number(value ?? 0).toLocaleString(undefined, { maximumFractionDigits: digits });
}
