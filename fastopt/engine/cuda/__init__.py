"""The training engine on a GPU. Proven in Numba's simulator; not yet run on hardware."""
