"""Where services run: what starts them, scales them and lets them in, written for the platforms that do."""
