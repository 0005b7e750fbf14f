"""The tests; a package so that tests.clusters can be imported and run by name."""
