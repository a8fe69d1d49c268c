"""`python -m cno` is `cno-asgi`."""

from cno.process.cli import main

if __name__ == "__main__":
    main()
