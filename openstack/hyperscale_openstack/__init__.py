"""HyperScale in OpenStack: a thin translation; decisions are made by hyperscaled."""

__version__ = '0.1.0'
