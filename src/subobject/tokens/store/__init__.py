"""Tokens of many images on disk: Parquet shards, one row an image, with a manifest; the format is described in docs/store.md.

``TokenWriter`` writes and continues a store, ``TokenStore`` reads one.
"""

from subobject.tokens.store.reader import StoredTokens, TokenStore
from subobject.tokens.store.rows import TokenRow
from subobject.tokens.store.writer import TokenWriter

__all__ = ["StoredTokens", "TokenRow", "TokenStore", "TokenWriter"]
