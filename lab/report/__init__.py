"""A judgement as text: JSON for programs, Markdown and a view on the terminal for people.

What a target says is untrusted. It is shown on one line without control characters, and escaped for the place where
it is shown.
"""
