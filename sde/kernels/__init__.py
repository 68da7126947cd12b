"""The ensemble engine: counter-based noise over lanes, and one loop that serves every problem. Imports
nothing of ours outside itself but the folder that machine code is kept in.

    loop, advance, step, explosions          the loop; one step of the grid; lanes that explode and events met
    drivers, fill_inputs, minibatch          what fills a step's inputs: nothing, Brownian motion, minibatches, weights
    random/                                  random words, normals and uniforms; as C functions; for Python
    statistics/, records                     what is gathered of saved rows
    compiled_program, math/                  a problem's emitted text compiled; the functions it may use
    shared_functions, calls, options         shared C functions, calls by address, compiler options
    machine_code, arguments, ahead           compiled functions kept between processes; called from Python; ahead of use
    compiler, pipeline                       Python to object code, by Numba; what is put in the place of its own
    views, members                           arrays over pointers; NamedTuples over words
    workspace, rows                          working memory; rows of lanes
"""
