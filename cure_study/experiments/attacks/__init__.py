"""What an attacker finds out from a model: notebook 06."""
