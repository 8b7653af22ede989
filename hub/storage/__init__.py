"""Where logs live on disk. Knows files and events; must not know HTTP or subscriptions."""
