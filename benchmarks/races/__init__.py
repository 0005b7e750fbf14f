"""Races of training steps against plain loops written from published descriptions: see __main__."""
