"""The ensemble engine: counter-based noise over lanes, and one loop that serves every problem. Imports
nothing of ours outside itself.
"""
