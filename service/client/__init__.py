"""A client of the service for Python programs, blocking and for asyncio. Needs the extra `client`."""

from service.client.asynchronous import AsyncStellarClient
from service.client.blocking import StellarClient
from service.client.errors import StellarError
from service.client.pictures import Picture
from service.client.stream import Result
from service.tokens.pictures import Source
from service.tokens.token_file import ImageTokens, pack, unpack

__all__ = [
    "AsyncStellarClient",
    "ImageTokens",
    "Picture",
    "Result",
    "Source",
    "StellarClient",
    "StellarError",
    "pack",
    "unpack",
]
