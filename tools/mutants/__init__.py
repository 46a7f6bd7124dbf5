"""Mutation tests: whether the tests notice small changes to the code. See docs/mutants.md."""
