"""The grammar of the filter language, as `parser` reads it, in the EBNF of ISO/IEC 14977.

Tests make sentences of it at random, and hold the parser to every one.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GRAMMAR"]

GRAMMAR: Final = """\
filter      = conjunction { "or" conjunction } ;
conjunction = negation { "and" negation } ;
negation    = "not" negation | "(" filter ")" | test ;
test        = comparison | membership | call ;
comparison  = name ( "==" | "!=" ) string ;
membership  = name [ "not" ] "in" "(" string { "," string } [ "," ] ")" ;
call        = "exists" "(" name ")" | "prefix" "(" name "," string ")" ;
"""
"""Spaces and line breaks between words mean nothing. `name` is an attribute's, `string` stands in quotes."""
