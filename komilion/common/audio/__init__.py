"""Audio as samples: PCM and G.711 (`pcm`), files of strangers to samples (`decode`), samples to files (`encode`).

Samples are one-dimensional numpy arrays of int16, one channel. Nothing here is imported by a process that has no audio.
"""
