"""Cases that every loader of bundles has to pass, whatever it is written in: see README.md."""
