"""The kinds of recommendations, one family a module: each gives what it would say, without regard to the others."""
