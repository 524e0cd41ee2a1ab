"""`python -m mera`."""

from mera.cli import main

main()
