"""Deciding, from metadata alone, what is built, under which terms, into which split and shard."""
