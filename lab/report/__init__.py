"""A judgement as text: JSON for programs, Markdown and a terminal view for people.

What a target said is untrusted: it is shown on one line, without control characters, and escaped for where it
stands.
"""
