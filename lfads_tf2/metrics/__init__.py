"""How good rates are: against the truth, against spikes, as the Neural Latents Benchmark scores them."""
