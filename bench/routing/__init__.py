"""Fits the routing weights on recorded outcomes and judges them beside simpler and dearer methods."""
