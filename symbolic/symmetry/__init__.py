"""What an algebra of symmetries is (kinds, groups, brackets) and the matrix forms of its charges."""

from symbolic.symmetry.matrix_forms import Family, Forms, arranged, find_families
from symbolic.symmetry.structure import Generator, Structure, structure

__all__ = ["Family", "Forms", "Generator", "Structure", "arranged", "find_families", "structure"]
