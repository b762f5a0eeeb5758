"""`make bench`: fastlog and its peers, measured in one run on the same records."""
