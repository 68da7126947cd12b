"""What the site is made with beside Sphinx: numbered equations, pages made from the code, a look at every link."""
