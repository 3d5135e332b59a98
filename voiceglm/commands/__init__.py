"""The tasks of the command line, one module each: ``add_arguments()`` and ``run()``.

A task imports torch and models inside ``run()``, so that its ``--help`` needs neither.
"""
