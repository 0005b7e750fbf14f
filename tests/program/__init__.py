"""Tests of ganhpc/program and jobs/program.py."""
