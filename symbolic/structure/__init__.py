"""What an algebra of symmetries is (kinds, groups, brackets) and the matrix forms of its charges."""

from symbolic.structure.algebra import Generator, Structure, structure
from symbolic.structure.forms import Family, Forms, arranged, find_families

__all__ = ["Family", "Forms", "Generator", "Structure", "arranged", "find_families", "structure"]
