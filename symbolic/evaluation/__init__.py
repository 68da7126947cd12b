"""A loss at points: in floats at any precision, and mod a prime with nested derivatives and Lie brackets."""
