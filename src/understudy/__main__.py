"""`python -m understudy`, for where the command is not on the path."""

from understudy.cli import main

if __name__ == "__main__":
    main()
