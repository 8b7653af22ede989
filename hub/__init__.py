"""The hub: an HTTP event hub that keeps every event in a plain text file.

This package's root exports nothing but the version, so that importing one
part (the client, say) never loads another (the server).
"""

__version__ = "0.1.0"
