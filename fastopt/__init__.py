"""fastopt: fast neural-network training and honest optimizer comparison for NumPy users."""

__version__ = "0.1.0"
