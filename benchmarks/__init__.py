"""Measures the hub against its peers, on this machine, in one run: `python -m benchmarks`.

Every figure that has a peer is a ratio to it. The servers run on one core and
the load generator on another; rounds of the two are interleaved and the median
ratio is reported, since a machine is never quiet. Nothing here is a test.
"""
