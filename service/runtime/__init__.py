"""A bundle on a device: what it must be, and what runs it."""
