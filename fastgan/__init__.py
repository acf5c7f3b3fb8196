"""fastgan: GANs on a small autograd engine written from scratch."""

__version__ = "0.1.0"
