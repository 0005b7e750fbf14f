"""A third scheduler, as somebody would add it: pbs.py and its two templates; with a fake of its commands (fake.py)."""
