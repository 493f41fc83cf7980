"""The load generator: k6 in containers, one bounded chunk after another without a gap.

`inputs` writes what k6 reads, `chunks` runs the containers, `chunk` and `chunk_schedule` describe one chunk, and
`points` turns k6's raw points into requests.
"""
