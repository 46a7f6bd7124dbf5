"""Whether the tests notice what is broken: see docs/mutants.md."""
