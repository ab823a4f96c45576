"""Many runs as one study."""
