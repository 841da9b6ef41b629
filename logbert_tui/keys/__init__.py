"""The table of keys: bindings, key bar and help are all made from it, so that they cannot drift apart."""

from logbert_tui.keys.key import Key, Where
from logbert_tui.keys.table import KEYS, TITLES
from logbert_tui.keys.uses import bindings, help_rows, key_bar

__all__ = ["KEYS", "TITLES", "Key", "Where", "bindings", "help_rows", "key_bar"]
