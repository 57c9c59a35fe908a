"""What the service tells of itself: its log, its metrics, its traces."""
