"""Ways to find out who shares what, one a file; see :mod:`trunkline.supermodel.methods.base` for what each offers."""
