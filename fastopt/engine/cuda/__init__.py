"""The training engine on a GPU. Tested in Numba's simulator; not yet run on hardware."""
