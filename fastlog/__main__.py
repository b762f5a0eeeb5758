"""`python -m fastlog` is `fastlog`."""

from fastlog.cli import main

if __name__ == "__main__":
    main()
