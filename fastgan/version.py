"""The version, where a checkpoint can find it without importing everything."""

__version__ = "0.1.0"
