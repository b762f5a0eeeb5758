"""Run the command `fastlog` by `python -m fastlog`."""

from fastlog.cli import main

if __name__ == "__main__":
    main()
