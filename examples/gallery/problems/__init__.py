"""One equation a file: its docstring says what it is and what is known of it, `EQUATION` is it, and `finding()` runs it
and sets what came out beside what is known, and beside what a wrong theory would say."""
