"""What each organization could do better, from its own traffic: evidence, recommendations, e-mail, upgrades."""
