"""`python -m heliograph`."""

from heliograph.main import main

if __name__ == "__main__":
    main()
