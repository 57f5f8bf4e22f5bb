"""The command line as `python -m caloforge`."""

from caloforge.cli import main

if __name__ == "__main__":  # processes that a command starts import this file once more
    main()
