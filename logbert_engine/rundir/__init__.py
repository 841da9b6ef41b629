"""The run directory: its layout, atomic writes, checksums, lock, journal and control file."""
