"""partyd: federated learning and secure computation between organisations."""

__version__ = "0.1.0"
