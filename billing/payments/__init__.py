"""The edge to Stripe: its API, its signatures, its objects. Cents here, nano-dollars behind it.

`mode` says whether and how paying works here, `client` talks to the API, `signature` opens what comes to the webhook,
`objects` reads Stripe's objects, `pretend` is what replaces Stripe where money is only pretended, `leftovers` finds
credit that is left of it, `letters` writes to the people who pay, `queries` reads. What changes something is in
`billing.actions`.
"""
