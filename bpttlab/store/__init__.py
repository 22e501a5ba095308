"""Stored runs: columns, identity, shards, studies."""
