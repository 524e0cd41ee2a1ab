"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("mera-flow")
except PackageNotFoundError:  # a checkout that is not installed
    VERSION = "unknown"
