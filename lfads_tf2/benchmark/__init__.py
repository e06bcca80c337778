"""What training and inference cost on a machine, for one model or a population of them."""
