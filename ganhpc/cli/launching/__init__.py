"""Starting runs: here, through a scheduler, as a scan.

Side: login. May import: everything but train, cli.main, cli.commands.
"""
