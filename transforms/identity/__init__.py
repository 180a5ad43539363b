"""Which case is which: fingerprints of volumes, what of them is the same image, and what belongs together for any reason."""
