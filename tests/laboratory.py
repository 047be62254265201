"""The head of a dataset.yaml for tests; `files` and `reading` are each test's own."""

LAB = """
name: lab
title: A laboratory
source: folder
licence: internal
citation: none
how_to_get: ask
"""
