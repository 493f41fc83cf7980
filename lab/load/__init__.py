"""The load generator: k6 in containers, in bounded chunks that abut.

`inputs` writes what k6 reads, `chunks` runs the containers, `points` turns k6's raw points into requests.
"""
