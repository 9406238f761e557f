"""Trees of blocks: TreeMTL's layouts, how many there are, which is the best under a budget, and the plans they are."""
