"""`make run`: one process that starts all others, looks after them and stops them.

`run` is the story from start to stop, `children` one process under supervision, `signals` how we wait,
`valkey` the embedded Redis-protocol server, `prepare` the one-shot process that migrates and seeds, `guard`
what is checked before anything starts, `banner` what the operator gets to read.
"""
