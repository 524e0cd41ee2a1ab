"""`python -m mera`."""

from mera.cli import main

if __name__ == "__main__":
    main()
