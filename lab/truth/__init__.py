"""The truth: a frozen corpus, its exact neighbours, and the check that the store holds just that."""
