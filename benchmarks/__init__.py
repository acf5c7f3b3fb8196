"""Benchmarks of fastgan against its own plain path and against other engines; nothing here is a timed test."""
