"""The HTTP doors. Only this package and the client know aiohttp."""
