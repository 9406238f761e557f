"""Ways to find out who shares what, one a file; :mod:`trunkline.supermodel.methods.base` says what each must offer."""
