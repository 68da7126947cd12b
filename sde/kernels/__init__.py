"""The ensemble engine: counter-based noise over lanes, and one loop that serves every problem. Imports
nothing of ours outside itself but the folder that machine code is kept in.

    loops, advance, moves, lost     the loop; one step of the grid; lanes lost and events met
    drivers, inputs, samples        what fills a step's inputs: nothing, Brownian motion, minibatches, weights
    philox, normal, fillers         random words, normals and uniforms; as C functions
    statistics, sketch, comoments, between, records    what is gathered of saved rows
    programs, functions             a problem's emitted text compiled; the functions it may use
    natives, calls, options         shared C functions, calls by address, compiler options
    machine_code                    compiled functions kept between processes
    scratch, rows, bits, random     working memory; rows of lanes; words as numbers; the same numbers for Python
"""
