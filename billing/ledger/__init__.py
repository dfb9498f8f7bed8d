"""The only writer of balances: items go in, one transaction per batch, outcomes come out.

Read in this order: `items` (what can be asked), `batch` (what one transaction does), `store` (its SQL), `committer`
(the thread that feeds it), `journal` (where settlements wait while the database is away).
"""
