"""Speed and size of the product beside its peers, as ratios within one run: ``make bench``."""
