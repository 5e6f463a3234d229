"""The version of the distribution, read by the build and registered with LiveKit."""

__version__ = "0.1.0"
