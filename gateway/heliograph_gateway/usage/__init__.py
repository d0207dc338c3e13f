"""The meter: what each API key used of each model."""
