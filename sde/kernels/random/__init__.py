"""Random words, uniforms and normals over lanes, from counters."""
