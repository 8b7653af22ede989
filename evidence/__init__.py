"""Shows that the hub keeps what it promises: `python -m evidence NAME`, which anybody can run.

Each program takes a seed, a short setting that the tests run, and `--long`. It
ends with a status other than 0 if a promise was broken, and leaves the files
behind by which that can be looked into. What the long ones gave is in
`docs/evidence.md`.
"""
