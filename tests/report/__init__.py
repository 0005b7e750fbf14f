"""Tests of ganhpc/report."""
