"""Which models exist, who offers them at what price, and the snapshot of it that the gateway works with."""
